//! Which login a role's requests run on.

use rolegate_model::RoleName;
use rolegate_pg::wire::Login;

use crate::config::{DatabaseConfig, Mode};

impl DatabaseConfig {
    /// One of our own logins, by the last part of its name.
    pub fn own_login(&self, last_part: &str) -> Login {
        let user = format!("{}_{last_part}", self.role_prefix);
        Login {
            password: self.passwords.get(&user).cloned(),
            user,
        }
    }

    /// How the role runs.
    pub fn mode_of(&self, role: &RoleName) -> Mode {
        self.modes.get(role.as_str()).copied().unwrap_or(self.mode)
    }

    /// The login its requests run on.
    pub fn login_of(&self, role: &RoleName) -> Login {
        if let Some(anonymous) = self.anonymous.as_ref()
            && anonymous.user == role.as_str()
        {
            return anonymous.clone();
        }
        match self.mode_of(role) {
            Mode::Login => Login {
                user: role.as_str().to_owned(),
                password: self.passwords.get(role.as_str()).cloned(),
            },
            Mode::Assume => self.authenticator.clone(),
        }
    }
}
