import { Callback, CallbackKey, receiveJob, SignatureRefused, Verifier } from "@rolegate/client/callbacks";

export interface Report {
  month: string;
}

/** A function for `rolegate dev --async-function make_report=URL`, whose key has the id `dev`. */
export async function reports(
  secret: string,
  makeReport: (report: Report, idempotencyKey: string) => Promise<{ pages: number }>,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<(request: Request) => Promise<Response>> {
  const key = await CallbackKey.of("dev", secret);
  const verifier = new Verifier([key]);

  async function handle(request: Request): Promise<Response> {
    try {
      const { job, idempotencyKey } = await receiveJob<Report>(verifier, request);
      const callback = new Callback(key, job);
      const work = makeReport(job.args, idempotencyKey).then(
        (report) => callback.complete(report),
        (error) => callback.fail(String(error)),
      );
      waitUntil(work);
      return new Response(null, { status: 202 });
    } catch (error) {
      if (error instanceof SignatureRefused) return new Response(null, { status: 401 });
      throw error;
    }
  }
  return handle;
}
