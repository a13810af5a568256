package rules

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// URLFilter drops documents by their address, as RefinedWeb and FineWeb do (Penedo et al. 2023, "The RefinedWeb Dataset for Falcon LLM",
// section G.1), with datatrove's arithmetic. The lists are the recipe's own; entries that begin with # are comments. A document without an
// address is kept.
type URLFilter struct {
	ExtraDomains      []string `yaml:"extra_domains" json:"extra_domains" help:"refused: registered domains or whole hosts"`
	ExtraURLs         []string `yaml:"extra_urls" json:"extra_urls" help:"refused: whole addresses"`
	BannedWords       []string `yaml:"banned_words" json:"banned_words" help:"refused: addresses with one of these words"`
	SoftBannedWords   []string `yaml:"soft_banned_words" json:"soft_banned_words" help:"refused: addresses with soft_word_threshold different ones of these words"`
	BannedSubwords    []string `yaml:"banned_subwords" json:"banned_subwords" help:"refused: addresses that have one of these anywhere, separators left out"`
	SoftWordThreshold int      `yaml:"soft_word_threshold" json:"soft_word_threshold" help:"different soft_banned_words that suffice"`

	domains, urls, banned, soft map[string]bool
	subwords                    []string
}

// NewURLFilter returns the reference's threshold and no lists.
func NewURLFilter() *URLFilter { return &URLFilter{SoftWordThreshold: 2} }

// Name is "url_filter".
func (*URLFilter) Name() string { return "url_filter" }

var notAlnum = regexp.MustCompile(`[^a-zA-Z0-9]+`)

func squeeze(s string) string { return strings.ToLower(notAlnum.ReplaceAllString(s, "")) }

// Prepare builds the lists.
func (u *URLFilter) Prepare() error {
	if u.SoftWordThreshold < 1 {
		return fmt.Errorf("url_filter: soft_word_threshold is %d; it must be at least 1", u.SoftWordThreshold)
	}
	set := func(list []string, norm func(string) string) (map[string]bool, error) {
		out := map[string]bool{}
		for _, x := range list {
			if x == "" {
				return nil, errors.New("url_filter: a list has an empty entry")
			}
			if x[0] != '#' {
				out[norm(x)] = true
			}
		}
		return out, nil
	}
	var err [5]error
	var sub map[string]bool
	u.domains, err[0] = set(u.ExtraDomains, strip)
	u.urls, err[1] = set(u.ExtraURLs, strip)
	u.banned, err[2] = set(u.BannedWords, squeeze)
	u.soft, err[3] = set(u.SoftBannedWords, squeeze)
	sub, err[4] = set(u.BannedSubwords, squeeze)
	u.subwords = nil
	for s := range sub {
		u.subwords = append(u.subwords, s)
	}
	return errors.Join(err[:]...)
}

// host is the host of an address, with or without a scheme.
func host(address string) string {
	rest := address
	if i := strings.Index(rest, "//"); i >= 0 {
		rest = rest[i+2:]
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	if h, _, err := net.SplitHostPort(rest); err == nil {
		rest = h
	}
	if h, err := url.PathUnescape(rest); err == nil {
		rest = h
	}
	return strings.TrimRight(rest, ".")
}

// domain is the registered domain of a host; "" for an address of numbers and for a host without a public suffix.
func domain(host string) string {
	if net.ParseIP(host) != nil {
		return ""
	}
	low := strings.ToLower(host)
	suffix, known := publicsuffix.PublicSuffix(low)
	if !known && !strings.Contains(suffix, ".") || suffix == low {
		return ""
	}
	head := host[:len(host)-len(suffix)-1]
	return head[strings.LastIndexByte(head, '.')+1:] + host[len(host)-len(suffix)-1:]
}

// Apply tests domain, host, address, words, soft words and parts of words, in this order.
func (u *URLFilter) Apply(d *Doc) Verdict {
	if d.URL == "" {
		return keep(d)
	}
	no := func(reason, value string) Verdict {
		return Verdict{Reason: reason, Value: value, Threshold: "not in the list"}
	}
	h := host(d.URL)
	reg := domain(h)
	switch {
	case reg != "" && u.domains[reg]:
		return no("domain", reg)
	case reg != "" && u.domains[h]:
		return no("subdomain", h)
	case u.urls[d.URL]:
		return no("url", d.URL)
	}
	soft := map[string]bool{}
	for _, w := range notAlnum.Split(d.URL, -1) {
		if u.banned[w] {
			return no("hard_blacklisted", w)
		}
		if u.soft[w] {
			soft[w] = true
		}
	}
	if len(soft) >= u.SoftWordThreshold {
		return Verdict{Reason: "soft_blacklisted", Value: strconv.Itoa(len(soft)), Threshold: strconv.Itoa(u.SoftWordThreshold)}
	}
	squeezed := squeeze(d.URL)
	for _, s := range u.subwords {
		if strings.Contains(squeezed, s) {
			return no("blacklisted_subword", s)
		}
	}
	return keep(d)
}
