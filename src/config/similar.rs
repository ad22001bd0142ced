//! Decides which known word somebody most likely meant.
//!
//! Must never change what was written: it only speaks of it.

/// A word longer than this is not compared.
const MAX_LENGTH: usize = 40;

/// The known word nearest to `word`, when at most two edits away and not a different word altogether.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_LENGTH {
        return None;
    }
    let allowed = match word.chars().count() {
        0..=2 => 1,
        _ => 2,
    };
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= allowed && *edits < candidate.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace) between two words, upper and lower case being equal.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.to_lowercase().chars().enumerate() {
        let mut next = vec![line + 1];
        for ((to, above), diagonal) in right.iter().zip(row.iter().skip(1)).zip(row.iter()) {
            let left_of = next.last().copied().unwrap_or(0);
            next.push((diagonal + usize::from(*to != from)).min(above + 1).min(left_of + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["issuer", "listen", "trust", "rules", "resources", "to"];
        for (word, meant) in [
            ("isuer", Some("issuer")),
            ("Issuer", Some("issuer")),
            ("rule", Some("rules")),
            ("ressource", Some("resources")),
            ("ot", None),
            ("limits", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "")), (3, 3, 3));
    }
}
