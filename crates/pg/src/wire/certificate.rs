//! What an exchange is bound to: the digest of the server's certificate.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

use crate::der;

/// `[0] EXPLICIT` in the parameters of RSASSA-PSS.
const HASH_ALGORITHM: u8 = 0xa0;

/// `tls-server-end-point` of RFC 5929: the certificate, hashed as in its own signature, with
/// SHA-256 in place of MD5 and SHA-1. `None` if its signature has no hash of its own (Ed25519):
/// PostgreSQL has no binding for such certificates either.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(certificate)?;
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let content = der::only(certificate, der::SEQUENCE)?;
    let (_, rest) = der::element(content, der::SEQUENCE)?;
    let (algorithm, rest) = der::element(rest, der::SEQUENCE)?;
    der::only(rest, der::BIT_STRING)?;
    let (oid, parameters) = der::element(algorithm, der::OID)?;
    // PKCS #1: 1.2.840.113549.1.1.x; ECDSA with SHA-2: 1.2.840.10045.4.3.x.
    match oid {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last] => match last {
            0x04 | 0x05 | 0x0b => Some(&SHA256),
            0x0c => Some(&SHA384),
            0x0d => Some(&SHA512),
            0x0a => pss_hash(parameters),
            _ => None,
        },
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last] => match last {
            0x02 => Some(&SHA256),
            0x03 => Some(&SHA384),
            0x04 => Some(&SHA512),
            _ => None,
        },
        // ECDSA with SHA-1.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01] => Some(&SHA256),
        _ => None,
    }
}

/// The hash in the parameters of an RSASSA-PSS signature, SHA-1 if they name none.
fn pss_hash(parameters: &[u8]) -> Option<&'static Algorithm> {
    let content = der::only(parameters, der::SEQUENCE)?;
    let Some((explicit, _)) = der::element(content, HASH_ALGORITHM) else {
        return Some(&SHA256);
    };
    let (oid, _) = der::element(der::only(explicit, der::SEQUENCE)?, der::OID)?;
    // 2.16.840.1.101.3.4.2.x
    match oid {
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last] => match last {
            0x01 => Some(&SHA256),
            0x02 => Some(&SHA384),
            0x03 => Some(&SHA512),
            _ => None,
        },
        // SHA-1.
        [0x2b, 0x0e, 0x03, 0x02, 0x1a] => Some(&SHA256),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        [&[tag, length], content].concat()
    }

    /// The outer form of a certificate that is signed with `oid` and these parameters.
    fn certificate_with(oid: &[u8], parameters: &[u8]) -> Vec<u8> {
        let algorithm = [&element(0x06, oid), parameters].concat();
        let parts = [
            element(0x30, &[]),
            element(0x30, &algorithm),
            vec![0x03, 1, 0],
        ];
        element(0x30, &parts.concat())
    }

    fn certificate(oid: &[u8]) -> Vec<u8> {
        certificate_with(oid, &[])
    }

    #[test]
    fn the_hash_of_pss_is_in_its_parameters() {
        let length = |parameters: &[u8]| {
            let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a];
            let certificate = certificate_with(&oid, parameters);
            server_end_point(&certificate).map(|digest| digest.len())
        };
        let with = |hash: &[u8]| {
            let algorithm = element(0x30, &element(0x06, hash));
            length(&element(0x30, &element(0xa0, &algorithm)))
        };
        let sha2 = |last| with(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last]);
        assert_eq!([sha2(1), sha2(2), sha2(3)], [Some(32), Some(48), Some(64)]);
        assert_eq!(sha2(9), None);
        assert_eq!(with(&[0x2b, 0x0e, 3, 2, 0x1a]), Some(32), "SHA-1");
        assert_eq!(length(&element(0x30, &[])), Some(32), "SHA-1 by default");
        assert_eq!(length(&[]), None);
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let pkcs1 = |last| certificate(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last]);
        let ecdsa = |last| certificate(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last]);
        let length = |certificate: Vec<u8>| server_end_point(&certificate).map(|d| d.len());
        assert_eq!(length(pkcs1(0x0b)), Some(32));
        assert_eq!(length(pkcs1(0x05)), Some(32), "SHA-1 is replaced");
        assert_eq!(length(pkcs1(0x0c)), Some(48));
        assert_eq!(length(ecdsa(3)), Some(48));
        assert_eq!(length(ecdsa(4)), Some(64));
        assert_eq!(length(certificate(&[0x2b, 0x65, 0x70])), None, "Ed25519");
        assert_eq!(server_end_point(b"no certificate"), None);
    }
}
