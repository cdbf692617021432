//! The text of Sign-In With Solana, which wallets show to a person and sign.
//!
//! It is read strictly: what is read is printed again and must be the same text, so no two texts mean the same, and nothing
//! stands in one that was not understood.

/// Ends the first line, behind the domain.
const GREETING: &str = " wants you to sign in with your Solana account:";

/// What the fields begin with, in their order.
const LABELS: [&str; 8] =
    ["URI: ", "Version: ", "Chain ID: ", "Nonce: ", "Issued At: ", "Expiration Time: ", "Not Before: ", "Request ID: "];

pub(super) const VERSION: usize = 1;
pub(super) const ISSUED_AT: usize = 4;
pub(super) const EXPIRATION_TIME: usize = 5;
pub(super) const NOT_BEFORE: usize = 6;

/// What stands in such a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SignInText<'a> {
    pub domain: &'a str,
    pub address: &'a str,
    pub statement: Option<&'a str>,
    /// By the places of `LABELS`.
    pub fields: [Option<&'a str>; 8],
    pub resources: Option<Vec<&'a str>>,
}

impl<'a> SignInText<'a> {
    /// Reads a text; `None` where it is no such text in its one form.
    pub fn parse(text: &'a str) -> Option<SignInText<'a>> {
        let mut lines = text.split('\n').peekable();
        let domain = lines.next()?.strip_suffix(GREETING)?;
        let mut read = SignInText { domain, address: lines.next()?, ..SignInText::default() };
        let is_field = |line: &str| LABELS.iter().any(|label| line.starts_with(label)) || line == "Resources:";
        let mut blank = lines.next();
        if blank.is_some() && !lines.peek().copied().is_some_and(is_field) {
            read.statement = Some(lines.next()?);
            blank = lines.next();
        }
        if blank.is_some() {
            for (field, label) in read.fields.iter_mut().zip(LABELS) {
                *field = lines.peek().and_then(|line| line.strip_prefix(label));
                if field.is_some() {
                    lines.next();
                }
            }
            if lines.next_if_eq(&"Resources:").is_some() {
                read.resources = Some(lines.map_while(|line| line.strip_prefix("- ")).collect());
            }
        }
        (read.print() == text).then_some(read)
    }

    /// The text, as wallets make it of its parts.
    pub fn print(&self) -> String {
        let mut text = [self.domain, GREETING, "\n", self.address].concat();
        if let Some(statement) = self.statement {
            text += "\n\n";
            text += statement;
        }
        let mut separator = "\n\n";
        for (field, label) in self.fields.iter().zip(LABELS) {
            if let Some(field) = field {
                text += separator;
                text += label;
                text += field;
                separator = "\n";
            }
        }
        if let Some(resources) = &self.resources {
            text += separator;
            text += "Resources:";
            for resource in resources {
                text += "\n- ";
                text += resource;
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts that the Wallet Standard's own package makes of the same parts.
    #[test]
    fn texts_are_those_of_the_wallet_standard() {
        let least = SignInText { domain: "solana.com", address: "A", ..SignInText::default() };
        assert_eq!(least.print(), "solana.com wants you to sign in with your Solana account:\nA");
        let said = SignInText { statement: Some("S"), ..least.clone() };
        assert_eq!(said.print(), "solana.com wants you to sign in with your Solana account:\nA\n\nS");
        let all = SignInText {
            fields: [
                Some("https://solana.com"),
                Some("1"),
                Some("mainnet"),
                Some("N"),
                Some("2023-01-01T00:00:00Z"),
                Some("2023-01-02T00:00:00Z"),
                Some("2023-01-01T12:00:00Z"),
                Some("R"),
            ],
            resources: Some(vec!["https://a.example", "b:c"]),
            ..said.clone()
        };
        let text = "solana.com wants you to sign in with your Solana account:\nA\n\nS\n\nURI: https://solana.com\nVersion: 1\n\
                    Chain ID: mainnet\nNonce: N\nIssued At: 2023-01-01T00:00:00Z\nExpiration Time: 2023-01-02T00:00:00Z\n\
                    Not Before: 2023-01-01T12:00:00Z\nRequest ID: R\nResources:\n- https://a.example\n- b:c";
        assert_eq!(all.print(), text);
        let bare = SignInText { fields: all.fields, ..least.clone() };
        let lonely = SignInText { resources: Some(vec!["b:c"]), ..least.clone() };
        for read in [least, said, all, bare, lonely] {
            assert_eq!(SignInText::parse(&read.print()), Some(read.clone()), "{}", read.print());
        }
    }

    #[test]
    fn a_text_in_another_form_is_none() {
        let good = "a.example wants you to sign in with your Solana account:\nA\n\nS\n\nVersion: 1\nNonce: N\nResources:\n- b:c";
        assert!(SignInText::parse(good).is_some());
        let bad = [
            good.replace("Solana", "Ethereum"),
            good.replace("\nA\n\n", "\nA\n"),
            good.replace("\n\nVersion", "\nVersion"),
            good.replace("Version: 1\nNonce: N", "Nonce: N\nVersion: 1"),
            good.replace("Nonce: N", "Nonce: N\nNonce: N"),
            good.replace("Nonce: N", "Nonce N"),
            good.replace("Resources:\n", "Resources: \n"),
            format!("{good}\n"),
            format!("{good}\nStatement: T"),
            String::new(),
            "a.example".into(),
            "a.example wants you to sign in with your Solana account:".into(),
        ];
        for text in bad {
            assert_eq!(SignInText::parse(&text), None, "{text:?}");
        }
    }
}
