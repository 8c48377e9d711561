//! Which device made a picture.

use super::claim::Device;
use super::media::Facts;

/// As the app says, else as the file does. What is not known is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equipment {
    pub manufacturer: String,
    pub model: String,
    pub software: Vec<String>,
}

impl Equipment {
    /// Never a serial number: it identifies a member of staff.
    #[must_use]
    pub fn of(device: Option<&Device>, facts: &Facts) -> Self {
        let claimed = device.filter(|d| d.manufacturer.is_some() || d.model.is_some());
        let (manufacturer, model) = match claimed {
            Some(device) => (&device.manufacturer, &device.model),
            None => (&facts.make, &facts.model),
        };
        let mut software: Vec<String> =
            device.and_then(|d| d.software.clone()).into_iter().chain(facts.software.clone()).collect();
        software.dedup();
        Self { manufacturer: manufacturer.clone().unwrap_or_default(), model: model.clone().unwrap_or_default(), software }
    }
}
