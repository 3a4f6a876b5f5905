//! Issuers whose tokens need not be meant for us.

use crate::audit::finding::{Finding, Severity};
use crate::audit::gateway::Issuer;

pub(in crate::audit) fn check(issuers: &[Issuer]) -> impl Iterator<Item = Finding> {
    issuers
        .iter()
        .filter(|issuer| issuer.any_audience)
        .map(|issuer| Finding {
            id: "audience_any".to_owned(),
            severity: Severity::Warning,
            object: format!("issuer {}", issuer.name),
            message: "Its tokens are accepted whoever they were meant for: every other service \
                      that gets one can use it here."
                .to_owned(),
            chain: vec![
                issuer.source.clone(),
                format!("issuers.{}.audiences is any", issuer.name),
            ],
            fix: format!(
                "-- in [[issuers]] with name = \"{}\": audiences = [\"the name of this service\"]",
                issuer.name
            ),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_with_named_audiences_is_no_finding() {
        let issuer = |name: &str, any_audience| Issuer {
            name: name.to_owned(),
            source: "rolegate.toml".to_owned(),
            any_audience,
        };
        let found: Vec<Finding> = check(&[issuer("open", true), issuer("named", false)]).collect();
        let [finding] = &*found else {
            panic!("{found:?}");
        };
        assert_eq!(finding.object, "issuer open");
        assert_eq!(finding.chain[0], "rolegate.toml");
    }
}
