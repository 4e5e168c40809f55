//! The material on its way from master to worker: a table of the text that holds the settings, which is in sealed memory.

use toml::Table;

use crate::{Material, TicketSecret};

/// Name of the table. It is no setting, so whoever reads settings passes it over.
const TABLE: &str = "tls";

impl Material {
    /// TOML to be put behind the settings, for [`Material::from_toml`].
    #[must_use]
    pub fn to_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let Self { certificates, key, ca, tickets } = self;
        format!(
            "\n[{TABLE}]\ncertificates = {}\nkey = {}\nca = {}\ntickets = {}\n",
            quoted(certificates),
            quoted(key),
            quoted(ca),
            quoted(&tickets.to_hex())
        )
    }

    /// Reads what [`Material::to_toml`] wrote; `None` if the server speaks no TLS.
    ///
    /// # Errors
    /// One line: the master wrote something else.
    pub fn from_toml(text: &str) -> Result<Option<Self>, String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let Some(table) = table.get(TABLE) else { return Ok(None) };
        let part = |key| {
            let part = table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            part.ok_or_else(|| format!("{TABLE}.{key} is missing"))
        };
        let tickets =
            TicketSecret::from_hex(&part("tickets")?).ok_or_else(|| format!("{TABLE}.tickets does not read"))?;
        Ok(Some(Self { certificates: part("certificates")?, key: part("key")?, ca: part("ca")?, tickets }))
    }
}
