package storage

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// SameOrigin reports whether two addresses are of one server: scheme, host and port. Credentials for one may be sent to the other only
// then.
func SameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	}
	return "80"
}

// Guarded reports whether what is sent to an address can be read by nobody on the way: by https, or within this machine.
func Guarded(u *url.URL) bool {
	if strings.EqualFold(u.Scheme, "https") || strings.EqualFold(u.Hostname(), "localhost") {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}

// StayHome is a CheckRedirect for clients whose requests carry credentials: they are sent on within one server, by answers that keep the
// method, and elsewhere never; the answer that asks for it is what the caller gets. net/http itself keeps credentials for other ports,
// subdomains, and plain http.
func StayHome(next *http.Request, via []*http.Request) error {
	if next.Response != nil && next.Response.StatusCode < http.StatusTemporaryRedirect || len(via) > 5 ||
		!SameOrigin(next.URL, via[0].URL) {
		return http.ErrUseLastResponse
	}
	return nil
}
