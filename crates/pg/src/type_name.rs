//! Names of PostgreSQL's own types.

use tokio_postgres::types::Type;

/// What PostgreSQL calls its own type of this OID (`int4`, `_text`); `None` for types of users and extensions.
pub fn type_name(oid: u32) -> Option<String> {
    Type::from_oid(oid).map(|known| known.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::type_name;

    #[test]
    fn only_its_own_types_have_a_name_everywhere() {
        assert_eq!(type_name(1700).as_deref(), Some("numeric"));
        assert_eq!(type_name(1009).as_deref(), Some("_text"));
        assert_eq!(type_name(16_384), None);
    }
}
