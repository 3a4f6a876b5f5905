//! A database and an issuer, each from several variables.

use serde_json::json;

use super::Part;
use super::translate::{Found, Translation};
use super::values::{self, Convert};

/// Settings of a database beside its address.
const OF_DATABASE: [(Part, &[&str], Convert); 8] = [
    (Part::DatabaseSchemas, &["schemas"], values::list),
    (Part::DatabaseTls, &["tls"], values::tls),
    (
        Part::PoolConnections,
        &["pool", "max_connections"],
        values::number,
    ),
    (
        Part::PoolIdle,
        &["pool", "idle_timeout_seconds"],
        values::seconds,
    ),
    (
        Part::PoolLifetime,
        &["pool", "max_lifetime_seconds"],
        values::seconds,
    ),
    (
        Part::PoolWait,
        &["pool", "wait_timeout_ms"],
        values::milliseconds,
    ),
    (Part::BudgetRows, &["budget", "max_rows"], values::number),
    (
        Part::QueryCacheBytes,
        &["query", "cache_bytes"],
        values::number,
    ),
];

/// Settings of an issuer beside its key.
const OF_ISSUER: [(Part, &str, Convert); 5] = [
    (Part::IssuerName, "issuer", values::text),
    (Part::IssuerAudience, "audiences", values::list),
    (Part::IssuerLeeway, "leeway_seconds", values::seconds),
    (Part::IssuerRoleClaim, "role_claims", values::list),
    (Part::IssuerRolePath, "role_claims", values::role_path),
];

/// Ways to name an issuer's key.
const KEYS: [(Part, &str, Convert); 3] = [
    (Part::IssuerJwksUrl, "jwks_url", values::text),
    (Part::IssuerPublicKey, "public_key", values::text),
    (Part::IssuerSecret, "shared_secret", values::secret),
];

impl Translation<'_> {
    /// One database, if the address is complete, and none of ours is configured but one of its name without a URL.
    pub(super) fn database(&mut self) {
        let address = [
            Part::DatabaseUrl,
            Part::DatabaseHost,
            Part::DatabasePort,
            Part::DatabaseName,
        ];
        let address = address.map(|part| self.take(part));
        let others = OF_DATABASE.map(|(part, path, convert)| (self.take(part), path, convert));
        let named = url(&address);
        let completes = |name: &str| {
            (self.configured)(&format!("databases.{name}"))
                && !(self.configured)(&format!("databases.{name}.url"))
        };
        let is_ours = (self.configured)("databases")
            && !named.as_ref().is_some_and(|(name, _)| completes(name));
        let why = if is_ours {
            "databases are configured"
        } else if let Some((name, url)) = named {
            let path = |rest: &[&str]| {
                let rest = rest.iter().map(|key| (*key).to_owned());
                let mut path = vec!["databases".to_owned(), name.clone()];
                path.extend(rest);
                path
            };
            let from: Vec<&Found> = match &address[0] {
                Some(url) => vec![url],
                None => address.iter().flatten().collect(),
            };
            self.give(path(&["url"]), json!(url), &from);
            let [uri, parts @ ..] = address;
            if uri.is_some() {
                self.ignore(parts.into_iter().flatten(), "the URL is read instead");
            }
            for (found, rest, convert) in others {
                let Some(found) = found else { continue };
                let path = path(rest);
                if (self.configured)(&path.join(".")) {
                    self.ignore([found], &format!("{} is configured", path.join(".")));
                } else {
                    self.convert(path, found, convert);
                }
            }
            return;
        } else {
            "host and database name are needed to make databases.NAME.url of it"
        };
        self.ignore(address.into_iter().flatten(), why);
        let others = others.into_iter().filter_map(|(found, ..)| found);
        self.ignore(others, why);
    }

    /// One issuer, if none of ours is configured and there is a key.
    pub(super) fn issuer(&mut self) {
        let mut keys: Vec<(Found, &str, _)> = Vec::new();
        for (part, name, convert) in KEYS {
            keys.extend(self.take(part).map(|found| (found, name, convert)));
        }
        let others = OF_ISSUER.map(|(part, name, convert)| (self.take(part), name, convert));
        if (self.configured)("issuers") || keys.is_empty() {
            let why = if keys.is_empty() {
                "there is no key to make an issuer of"
            } else {
                "issuers are configured"
            };
            self.ignore(keys.into_iter().map(|(found, ..)| found), why);
            let others = others.into_iter().filter_map(|(found, ..)| found);
            return self.ignore(others, why);
        }
        let (key, kind, convert) = keys.remove(0);
        let why = format!("{} is read instead", key.variable);
        self.ignore(keys.into_iter().map(|(found, ..)| found), &why);
        let value = match convert(&key.value) {
            Ok(value) => value,
            Err(why) => {
                self.ignore([key], why);
                let others = others.into_iter().filter_map(|(found, ..)| found);
                return self.ignore(others, "the key is not read");
            }
        };
        // A key without what limits it would accept more than it does there.
        let limits = others.iter().find_map(|(found, _, convert)| {
            let found = found.as_ref()?;
            let why = convert(&found.value).err()?;
            Some(format!("{} cannot be read: {why}", found.variable))
        });
        if let Some(why) = limits {
            let others = others.into_iter().filter_map(|(found, ..)| found);
            return self.ignore(others.chain([key]), &why);
        }
        // As theirs: any audience unless one is named, and no claim for the database.
        let mut issuer = json!({
            "name": "environment", "keys": { kind: value }, "audiences": "any", "db_name": "optional",
        });
        let mut from = vec![key];
        for (found, name, convert) in others {
            if let Some(found) = found
                && let Ok(value) = convert(&found.value)
            {
                issuer[name] = value;
                from.push(found);
            }
        }
        let from: Vec<&Found> = from.iter().collect();
        self.give(vec!["issuers".to_owned()], json!([issuer]), &from);
    }
}

/// Name and URL of the database: from a URL, else from host and name. User and password stay
/// behind: nobody here would log in with them.
fn url(address: &[Option<Found>; 4]) -> Option<(String, String)> {
    let [uri, host, port, name] = address;
    let value = |found: &Option<Found>| found.as_ref().map(|found| found.value.trim().to_owned());
    if let Some(uri) = value(uri) {
        let config: tokio_postgres::Config = uri.parse().ok()?;
        let name = config.get_dbname()?.to_owned();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let host = match config.get_hosts() {
            [tokio_postgres::config::Host::Tcp(host)] => host.clone(),
            [tokio_postgres::config::Host::Unix(path)] => path.to_str()?.to_owned(),
            _ => return None,
        };
        let url = render(&host, &port.to_string(), &name);
        return Some((name, url));
    }
    let (host, name) = (value(host)?, value(name)?);
    let port = value(port).unwrap_or_else(|| "5432".to_owned());
    let url = render(&host, &port, &name);
    Some((name, url))
}

fn render(host: &str, port: &str, name: &str) -> String {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        encoded(host)
    };
    format!("postgresql://{host}:{}/{}", encoded(port), encoded(name))
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
