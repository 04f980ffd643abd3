//! The proxies that the environment names, by the variables that curl knows.

use ureq::{Proxy, ProxyProtocol};

/// The proxy to addresses with or without encryption, if there is one. Hosts of `NO_PROXY`, and all below them, are reached without.
///
/// # Errors
/// For a proxy of another kind, without its address, which may hold a password.
pub(super) fn proxy(is_secure: bool, get: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, String> {
    // HTTP_PROXY in capitals is not read: a web server sets that variable from a request.
    let names: &[&str] = match is_secure {
        true => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        false => &["http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let first = |names: &[&str]| names.iter().find_map(|name| get(name).filter(|value| !value.trim().is_empty()));
    let Some(text) = first(names) else { return Ok(None) };
    let odd = || "the proxy of the environment is not of the form http://host:port or https://host:port, the only kinds that are supported";
    let is_known = |proxy: &Proxy| matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https);
    let named = Proxy::new(text.trim()).ok().filter(is_known).ok_or_else(odd)?;

    let mut builder = Proxy::builder(named.protocol()).host(named.host()).port(named.port());
    if let Some(user) = named.username() {
        builder = builder.username(user);
    }
    if let Some(password) = named.password() {
        builder = builder.password(password);
    }
    for host in first(&["NO_PROXY", "no_proxy"]).unwrap_or_default().split(',') {
        builder = match host.trim().trim_start_matches("*.").trim_start_matches('.') {
            "" => builder,
            "*" => builder.no_proxy("*"),
            host => builder.no_proxy(host).no_proxy(&format!(".{host}")),
        };
    }
    Ok(Some(builder.build().map_err(|_| odd())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a request goes: `None` without a proxy, and `user:password@host:port` with one.
    fn way(variables: &[(&str, &str)], address: &str) -> Result<Option<String>, String> {
        let get = |name: &str| variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
        let proxy = proxy(address.starts_with("https"), get)?.filter(|proxy| !proxy.is_no_proxy(&address.parse().unwrap()));
        Ok(proxy.map(|proxy| {
            let login = proxy.username().map(|user| format!("{user}:{}@", proxy.password().unwrap_or_default()));
            format!("{}{}:{}", login.unwrap_or_default(), proxy.host(), proxy.port())
        }))
    }

    #[test]
    fn proxies_are_those_that_curl_takes() {
        let to = |way: &str| Ok(Some(way.to_owned()));
        let both = [("HTTPS_PROXY", "http://me:p%40ss@proxy:3128/"), ("NO_PROXY", "127.0.0.1, .local,hub.example")];
        assert_eq!(way(&both, "https://huggingface.co"), to("me:p@ss@proxy:3128"));
        for direct in ["https://mirror.local", "https://local", "https://127.0.0.1:8080/x", "https://a.hub.example"] {
            assert_eq!(way(&both, direct), Ok(None), "{direct}");
        }
        assert_eq!(way(&both, "https://notlocal"), to("me:p@ss@proxy:3128"));
        assert_eq!(way(&both, "http://huggingface.co"), Ok(None));
        assert_eq!(way(&[("all_proxy", "proxy:8080")], "http://x"), to("proxy:8080"));
        assert_eq!(way(&[("all_proxy", "https://proxy")], "https://x"), to("proxy:443"));
        assert_eq!(way(&[("all_proxy", "proxy"), ("no_proxy", "*")], "http://x"), Ok(None));
        assert_eq!(way(&[("HTTP_PROXY", "proxy")], "http://x"), Ok(None));
        for odd in ["socks5://me:secret@proxy", "ftp://secret", "http://", "a b secret"] {
            let message = way(&[("ALL_PROXY", odd)], "https://x").unwrap_err();
            assert!(message.contains("http://host:port") && !message.contains("secret"), "{message}");
        }
    }
}
