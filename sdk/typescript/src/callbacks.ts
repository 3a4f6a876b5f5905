export {
  Callback,
  type CallbackAnswer,
  type CallbackOptions,
  type CallOptions,
} from "./callbacks/callback.js";
export {
  type FunctionJob,
  type ReceivedJob,
  type ReceiveOptions,
  receiveJob,
  verifyJob,
} from "./callbacks/job.js";
export { CallbackKey } from "./callbacks/key.js";
export {
  type CallbackAction,
  LEGACY_SIGNATURE_HEADER,
  SIGNATURE_HEADER,
  type SignedCall,
  type SignedRequest,
  signCall,
  signLegacy,
  signRequest,
  TIMESTAMP_HEADER,
} from "./callbacks/signature.js";
export {
  type Accepted,
  type HeaderSource,
  type Refusal,
  SignatureRefused,
  Verifier,
  type VerifierOptions,
} from "./callbacks/verifier.js";
