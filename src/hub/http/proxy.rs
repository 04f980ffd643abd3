//! The proxies that the environment names.

use std::io;

use super::address::{Address, split_port};

/// The proxies of the environment, by the variables that curl knows.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    secure: Option<String>,
    plain: Option<String>,
    /// Hosts, and domains with all below them, that are reached without.
    without: Vec<String>,
}

/// An HTTP proxy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// `user:password`.
    pub(super) login: Option<String>,
}

impl Proxies {
    pub(super) fn from_variables(get: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| get(name).filter(|value| !value.trim().is_empty()));
        let without = first(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
        Self {
            secure: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            // Not in capitals: a web server sets that variable from a request.
            plain: first(&["http_proxy", "ALL_PROXY", "all_proxy"]),
            without: without
                .split(',')
                .map(|host| host.trim().trim_start_matches("*.").trim_start_matches('.').to_lowercase())
                .collect(),
        }
    }

    pub(super) fn of(&self, address: &Address) -> io::Result<Option<Proxy>> {
        let host = address.host.to_lowercase();
        let is_below = |domain: &String| {
            !domain.is_empty()
                && (domain == "*" || host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
        };
        let proxy = if address.is_secure { &self.secure } else { &self.plain };
        match proxy {
            Some(proxy) if !self.without.iter().any(is_below) => Proxy::parse(proxy).map(Some),
            _ => Ok(None),
        }
    }
}

impl Proxy {
    fn parse(text: &str) -> io::Result<Self> {
        let odd = || {
            // Not its value, which may hold a password.
            let message = "the proxy of the environment is not of the form http://host:port, the only kind that is supported";
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        let rest = match text.trim().split_once("://") {
            Some(("http", rest)) => rest,
            None => text.trim(),
            Some(_) => return Err(odd()),
        };
        let rest = rest.trim_end_matches('/');
        let (login, server) = match rest.rsplit_once('@') {
            Some((login, server)) => (Some(unescaped(login)), server),
            None => (None, rest),
        };
        let (host, port) = split_port(server).filter(|(host, _)| !host.is_empty() && !host.contains('/')).ok_or_else(odd)?;
        Ok(Self { host: host.to_owned(), port: port.unwrap_or(8080), login })
    }
}

/// Text in which `%41` stands for `A`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let code = rest
            .get(1..3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &rest[3..];
            }
            _ => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_those_that_curl_takes() {
        let proxies = |variables: &[(&str, &str)]| {
            let variables: Vec<(String, String)> = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            Proxies::from_variables(move |name| {
                variables.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
            })
        };
        let of = |variables: &[(&str, &str)], address: &str| proxies(variables).of(&Address::parse(address).unwrap());
        let proxy = |host: &str, port, login: Option<&str>| {
            Some(Proxy { host: host.to_owned(), port, login: login.map(str::to_owned) })
        };
        let both = [("HTTPS_PROXY", "http://me:p%40ss@proxy:3128/"), ("NO_PROXY", "127.0.0.1, .local")];
        assert_eq!(of(&both, "https://huggingface.co").unwrap(), proxy("proxy", 3128, Some("me:p@ss")));
        assert_eq!(of(&both, "https://mirror.local").unwrap(), None);
        assert_eq!(of(&both, "https://notlocal").unwrap(), proxy("proxy", 3128, Some("me:p@ss")));
        assert_eq!(of(&both, "http://huggingface.co").unwrap(), None);
        assert_eq!(of(&[("all_proxy", "proxy")], "http://x").unwrap(), proxy("proxy", 8080, None));
        assert_eq!(of(&[("all_proxy", "proxy"), ("no_proxy", "*")], "http://x").unwrap(), None);
        let message = of(&[("ALL_PROXY", "socks5://me:secret@proxy")], "https://x").unwrap_err().to_string();
        assert!(message.contains("http://host:port") && !message.contains("secret"), "{message}");
    }
}
