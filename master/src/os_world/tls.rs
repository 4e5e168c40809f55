//! The certificate of a generation: read before anything is changed, and told about when it is in force.

use rustcorn_config::{Loaded, Problem};
use rustcorn_tls::Material;

use super::Refusal;
use super::generation::Resources;
use crate::heritage::Endowment;
use crate::notice::Notice;

/// Reads what the settings name. A certificate whose time is over does not take the place of one that is good. Where there is
/// nothing better, it is served: clients who do not care are served, and the log says so.
pub(super) fn load(loaded: &Loaded, present: &Endowment) -> Result<Option<Material>, Refusal> {
    let Some(material) = Material::load(loaded, present.tickets.as_ref())? else { return Ok(None) };
    let is_good = |material: &Material| material.validity().is_none_or(|validity| validity.is_now());
    if present.tls.as_ref().is_some_and(is_good)
        && let Some(validity) = material.validity().filter(|validity| !validity.is_now())
    {
        let text = format!("the certificate in {} {validity}; the one in use is good", loaded.settings.certfile);
        return Err(Problem::new(loaded.origins.get("certfile"), "certfile", &text).into());
    }
    Ok(Some(material))
}

impl Resources {
    /// Says which certificate clients are shown from now on, unless `old` showed them the same.
    pub(super) fn say_certificate(&self, old: Option<&Self>) {
        let Some(tls) = &self.tls else { return };
        let same = old.and_then(|old| old.tls.as_ref()).is_some_and(|old| old.same_certificate(tls));
        if let (Some(validity), false) = (tls.validity(), same) {
            let (path, good) = (self.settings.certfile.clone(), validity.is_now());
            Notice::Certificate { path, validity: validity.to_string(), good }.say();
        }
    }
}
