//! The colour profile of a picture (PS3.3 §C.11.15; ICC.1 §7.2).

/// Length of the profile header, bytes.
const HEADER_BYTES: usize = 128;
/// A camera profile is some kilobytes; printers' tables reach megabytes and are not for photographs.
const PROFILE_BYTES_MAX: usize = 4 << 20;

/// The profile as (0028,2000) wants it: of class `scnr` (input), because phones write `mntr`; the
/// matrix and curves mean the same in both. The profile id is a digest over the header and is
/// zeroed, which says "not computed" (ICC.1 §7.2.18). Padded to even length.
///
/// `None` where it is no RGB profile: such a profile means nothing for these samples.
#[must_use]
pub fn input_class(profile: &[u8]) -> Option<Vec<u8>> {
    if !is_rgb(profile) {
        return None;
    }
    let mut out = Vec::with_capacity(profile.len() + 1);
    out.extend_from_slice(profile);
    out.get_mut(12..16)?.copy_from_slice(b"scnr");
    out.get_mut(84..100)?.fill(0);
    if out.len() % 2 == 1 {
        out.push(0);
    }
    Some(out)
}

/// True where `profile` is a whole RGB profile over XYZ or Lab.
fn is_rgb(profile: &[u8]) -> bool {
    let size = profile.first_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b) as usize);
    let at = |from: usize, to: usize| profile.get(from..to).unwrap_or_default();
    (HEADER_BYTES..=PROFILE_BYTES_MAX).contains(&profile.len())
        && size <= profile.len()
        && size >= HEADER_BYTES
        && at(36, 40) == b"acsp"
        && at(16, 20) == b"RGB "
        && matches!(at(20, 24), b"XYZ " | b"Lab ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(space: [u8; 4], length: usize) -> Vec<u8> {
        let mut p = vec![7u8; length];
        p[..4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        p[12..16].copy_from_slice(b"mntr");
        p[16..20].copy_from_slice(&space);
        p[20..24].copy_from_slice(b"XYZ ");
        p[36..40].copy_from_slice(b"acsp");
        p
    }

    #[test]
    fn a_display_profile_becomes_an_input_profile_and_nothing_else_changes() {
        let given = profile(*b"RGB ", 201);
        let then = input_class(&given).expect("usable");
        assert_eq!(then.len(), 202);
        assert_eq!(&then[12..20], b"scnrRGB ");
        assert!(then[84..100].iter().all(|b| *b == 0));
        assert_eq!((&then[..12], &then[100..201]), (&given[..12], &given[100..]));
    }

    #[test]
    fn what_is_no_rgb_profile_is_not_used() {
        assert!(input_class(&profile(*b"CMYK", 200)).is_none());
        assert!(input_class(&profile(*b"RGB ", 200)[..150]).is_none());
        assert!(input_class(b"").is_none());
    }
}
