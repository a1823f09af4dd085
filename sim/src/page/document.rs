//! One HTML file out of a body, a style, scripts and data.

use std::path::Path;

use serde::Serialize;

use super::PageError;

/// What every page shares.
const COMMON_STYLE: &str = include_str!("assets/common.css");

/// The parts of a page.
pub(super) struct Document<'a> {
    /// The text of the browser's tab.
    pub(super) title: &'a str,
    /// The page's own style.
    pub(super) style: &'a str,
    /// The markup of the body.
    pub(super) body: &'a str,
    /// The scripts, in order; together they are one function, so that nothing leaks out of the page.
    pub(super) scripts: &'a [&'a str],
}

impl Document<'_> {
    /// The file's text, with the data as JSON inside it.
    ///
    /// # Errors
    /// [`PageError::Json`].
    pub(super) fn render(&self, data: &impl Serialize) -> Result<String, PageError> {
        // Within a script element only "<" can end the element or begin a comment.
        let data = serde_json::to_string(data)?.replace('<', "\\u003c");
        let Document { title, style, body, scripts } = self;
        let title = escaped(title);
        let script = scripts.concat();
        Ok(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n\
             <title>{title}</title>\n<style>\n{COMMON_STYLE}{style}</style>\n</head>\n<body>\n{body}\
             <script type=\"application/json\" id=\"data\">{data}</script>\n\
             <script>\n\"use strict\";\n(() => {{\n{script}}})();\n</script>\n</body>\n</html>\n"
        ))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`PageError`].
    pub(super) fn write(&self, data: &impl Serialize, path: &Path) -> Result<(), PageError> {
        let text = self.render(data)?;
        std::fs::write(path, text).map_err(|error| PageError::Io { path: path.display().to_string(), error })
    }
}

/// Text as markup shows it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_the_element_it_stands_in() {
        let document = Document { title: "a < b & c", style: "", body: "", scripts: &[] };
        let text = document.render(&["</script><script>alert(1)</script>", "<!--"]).unwrap();
        assert_eq!(text.matches("</script>").count(), 2, "those of the page itself: {text}");
        assert!(!text.contains("<!--"), "{text}");
        assert!(text.contains("<title>a &lt; b &amp; c</title>"), "{text}");
        assert!(text.contains(r#"["\u003c/script>\u003cscript>alert(1)"#), "{text}");
    }
}
