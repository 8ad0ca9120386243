//! Rust source as the rules see it: code alone.

/// The code of a file. Comments, strings and character literals become spaces, so that what a rule
/// finds is really code; lines stay where they are.
pub(super) fn code_only(source: &str) -> String {
    let mut scan = Scan { rest: source, code: String::with_capacity(source.len()) };
    while !scan.rest.is_empty() {
        scan.step();
    }
    scan.code
}

struct Scan<'a> {
    rest: &'a str,
    code: String,
}

impl Scan<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment_len(self.rest));
        } else if !self.in_word()
            && let Some(len) = raw_string_len(self.rest)
        {
            self.blank(len);
        } else if let Some(body) = self.rest.strip_prefix('"') {
            self.blank(1 + quoted_len(body, '"'));
        } else if let Some(len) = char_literal_len(self.rest) {
            self.blank(len);
        } else {
            self.keep();
        }
    }

    fn in_word(&self) -> bool {
        self.code.ends_with(is_word)
    }

    fn keep(&mut self) {
        let mut chars = self.rest.chars();
        self.code.extend(chars.next());
        self.rest = chars.as_str();
    }

    fn blank(&mut self, len: usize) {
        let (gone, rest) = self.rest.split_at(len);
        self.code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }
}

/// Length of the comment that `text` begins with; comments nest.
fn block_comment_len(text: &str) -> usize {
    let mut depth = 0usize;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("/*") {
            depth += 1;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = after;
            if depth == 0 {
                break;
            }
        } else {
            rest = after_first(rest);
        }
    }
    text.len() - rest.len()
}

/// Length of the raw string that `text` begins with, prefix and quotes included.
fn raw_string_len(text: &str) -> Option<usize> {
    let after_kind = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let body = after_kind.trim_start_matches('#');
    let hashes = after_kind.len() - body.len();
    let body = body.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let body_len = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + body_len)
}

/// Length of a literal from after its first quote to after its last one.
fn quoted_len(body: &str, quote: char) -> usize {
    let mut rest = body;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('\\') {
            rest = after_first(after);
        } else if let Some(after) = rest.strip_prefix(quote) {
            rest = after;
            break;
        } else {
            rest = after_first(rest);
        }
    }
    body.len() - rest.len()
}

/// Length of the character literal that `text` begins with; a lifetime is none.
fn char_literal_len(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    if body.starts_with('\\') {
        return Some(1 + quoted_len(body, '\''));
    }
    let after = after_first(body);
    after.starts_with('\'').then(|| text.len() - after.len() + 1)
}

fn after_first(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

/// Whether `c` can be part of a name.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `text` names `word`, and not a longer name with `word` in it.
pub(super) fn names(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let (before, found) = text.split_at(at);
        let after = found.strip_prefix(word).unwrap_or_default();
        !(before.ends_with(is_word) || after.starts_with(is_word))
    })
}

/// `code` without the items that are there for its tests only.
pub(super) fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, item) = rest.split_at(at);
        kept.push_str(before);
        let (item, after) = item.split_at(item_len(item));
        kept.extend(item.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Length of the item that `code` begins with: up to its closing brace or semicolon.
fn item_len(code: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Line of its `fn`, from 1.
    pub(super) line: usize,
    /// Lines from there to the closing brace.
    pub(super) line_count: usize,
}

/// The functions of a file, those within others too.
pub(super) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let (before, text) = code.split_at(at);
        if before.ends_with(is_word) {
            continue;
        }
        let signature = text.strip_prefix("fn ").unwrap_or_default();
        let name: String = signature.chars().take_while(|c| is_word(*c)).collect();
        let (item, _) = text.split_at(item_len(text));
        // A declaration in a trait ends with a semicolon and has no body.
        if !name.is_empty() && item.ends_with('}') {
            let line = 1 + before.matches('\n').count();
            found.push(Function { name, line, line_count: 1 + item.matches('\n').count() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let source = "let a = \"tokio \\\" x\"; // tokio\n/* tokio /* tokio */ tokio */ b();\n";
        let code = code_only(source);
        assert!(!code.contains("tokio"), "{code}");
        assert!(code.contains("let a ="));
        assert!(code.contains("b();"));
        assert_eq!(code.matches('\n').count(), 2);
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        let code = code_only("x(r#\"a \" tokio\"#, br\"tokio\\\", y); r#fn();");
        assert!(!code.contains("tokio"), "{code}");
        assert!(code.ends_with(", y); r#fn();"), "{code}");
    }

    #[test]
    fn a_quote_in_a_character_opens_no_string() {
        let code = code_only("f('\"', '\\'', '\\u{7d}', b'{'); g::<'a>(\"}\"); h()");
        assert!(!code.contains(['"', '{', '}']), "{code}");
        assert!(code.contains("g::<'a>("), "{code}");
        assert!(code.ends_with("h()"), "{code}");
    }

    #[test]
    fn a_name_is_found_as_a_whole_only() {
        assert!(names("use tokio::io;", "tokio"));
        assert!(names("std::fs::File", "std::fs"));
        assert!(!names("my_tokio", "tokio"));
        assert!(!names("std::fsync", "std::fs"));
    }

    #[test]
    fn test_modules_are_cut_out_and_lines_stay() {
        let code = "a();\n#[cfg(test)]\nmod tests {\n    fn t() { x(); }\n}\nb();\n";
        assert_eq!(without_tests(code), "a();\n\n\n\n\nb();\n");
        let declared = "#[cfg(test)]\nmod tests;\nb();\n";
        assert_eq!(without_tests(declared), "\n\nb();\n");
    }

    #[test]
    fn functions_are_measured_from_name_to_closing_brace() {
        let code = "trait T {\n    fn declared(&self);\n}\n\nfn long<F: Fn(u8)>(f: F)\nwhere\n    F: Copy,\n{\n    if x {\n    }\n}\n";
        let expected = Function { name: "long".to_owned(), line: 5, line_count: 7 };
        assert_eq!(functions(code), [expected]);
    }
}
