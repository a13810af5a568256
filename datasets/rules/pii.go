package rules

import (
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What [PII] does with what it finds.
const (
	PIIMask   = "mask"   // replaces it
	PIIRemove = "remove" // takes it out
	PIIReject = "reject" // drops the document
)

// PII finds personal data. The defaults are datatrove's formatter: e-mail addresses and public IPv4 addresses, replaced in turn by the
// reference's examples, beginning anew in each document; but numbers of versions, which the reference takes for addresses, stay unless
// keep_versions is false. More kinds may be named.
type PII struct {
	Kinds               []string            `yaml:"kinds" json:"kinds" help:"what is looked for: email, ip, ipv6, mac, phone, card, iban, ssn, url_token, api_key"`
	Action              string              `yaml:"action" json:"action" help:"what is done with it: mask, remove or reject"`
	OnlyRemovePublicIPs bool                `yaml:"only_remove_public_ips" json:"only_remove_public_ips" help:"addresses of private networks stay"`
	KeepVersions        bool                `yaml:"keep_versions" json:"keep_versions" help:"numbers of versions, such as version 1.2.3.4, stay as they are"`
	Replacements        map[string][]string `yaml:"replacements" json:"replacements" help:"what stands in its place, by kind, used in turn"`

	finders []piiKind
}

// piiKind is a kind of personal data.
type piiKind struct {
	name string
	find func(p *PII, text string) []Span
	mask []string
}

// piiKinds is the table of kinds, in the order in which they are looked for.
var piiKinds = []piiKind{
	{"url_token",
		findAll(regexp.MustCompile(`(?i)\bhttps?://[^\s?#]+\?[^\s#]*?\b(?:token|access_token|api_key|apikey|key|secret|password|passwd|pwd|session|sessionid|sid|auth|signature|sig)=[^\s&#"'<>]+[^\s"'<>.,;:!?)]*`), nil), []string{"<URL>"}},
	{"email", findEmails, []string{"email@example.com", "firstname.lastname@example.org"}},
	{"ip", findIPv4, []string{"22.214.171.124", "126.96.36.199", "188.8.131.52", "184.108.40.206", "220.127.116.11", "18.104.22.168"}},
	{"ipv6", findIPv6, []string{"<IPV6_ADDRESS>"}},
	{"mac", findAll(regexp.MustCompile(`\b[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})\b`), nil),
		[]string{"<MAC_ADDRESS>"}},
	{"iban", findAll(regexp.MustCompile(`\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b`), isIBAN), []string{"<IBAN>"}},
	{"card", findAll(regexp.MustCompile(`\b[0-9](?:[ -]?[0-9]){12,18}\b`), isCard), []string{"<CREDIT_CARD>"}},
	{"ssn", findAll(regexp.MustCompile(`\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b`), nil), []string{"<SSN>"}},
	{"phone", findPhones, []string{"<PHONE_NUMBER>"}},
	{"api_key", findAPIKeys, []string{"<API_KEY>"}},
}

// NewPII returns the reference's settings.
func NewPII() *PII {
	return &PII{Kinds: []string{"email", "ip"}, Action: PIIMask, OnlyRemovePublicIPs: true, KeepVersions: true}
}

// Name is "pii".
func (*PII) Name() string { return "pii" }

// Prepare checks the kinds.
func (p *PII) Prepare() error {
	if !slices.Contains([]string{PIIMask, PIIRemove, PIIReject}, p.Action) {
		return fmt.Errorf("pii: action %q is unknown; it is mask, remove or reject", p.Action)
	}
	var names []string
	p.finders = nil
	for _, k := range piiKinds {
		names = append(names, k.name)
		if slices.Contains(p.Kinds, k.name) {
			if r, ok := p.Replacements[k.name]; ok {
				if len(r) == 0 {
					return fmt.Errorf("pii: replacements of %s has no text; action: remove takes it out", k.name)
				}
				k.mask = r
			}
			p.finders = append(p.finders, k)
		}
	}
	for _, k := range p.Kinds {
		if !slices.Contains(names, k) {
			return fmt.Errorf("pii: kind %q is unknown; the kinds are %v", k, names)
		}
	}
	for k := range p.Replacements {
		if !slices.Contains(p.Kinds, k) {
			return fmt.Errorf("pii: replacements names %q, which kinds does not", k)
		}
	}
	return nil
}

// Apply goes through the kinds in the table's order, each over what the one before left.
func (p *PII) Apply(d *Doc) Verdict {
	v := Verdict{Keep: true, Text: d.Text}
	for _, k := range p.finders {
		spans := k.find(p, v.Text)
		if len(spans) == 0 {
			continue
		}
		if p.Action == PIIReject {
			return Verdict{Reason: k.name, Value: v.Text[spans[0].Start:spans[0].End], Threshold: "none"}
		}
		v.Counters = append(v.Counters, Counter{k.name, len(spans)})
		var b strings.Builder
		at := 0
		for i, s := range spans {
			b.WriteString(v.Text[at:s.Start])
			if p.Action == PIIMask {
				b.WriteString(k.mask[i%len(k.mask)])
			}
			at = s.End
		}
		b.WriteString(v.Text[at:])
		v.Text = b.String()
	}
	if strip(v.Text) == "" && strip(d.Text) != "" {
		return drop("empty", 0, 1)
	}
	return v
}

// findAll finds what an expression matches and a test accepts, unless it is part of a longer word or number.
func findAll(re *regexp.Regexp, ok func(string) bool) func(*PII, string) []Span {
	return func(_ *PII, text string) []Span {
		var out []Span
		for at := 0; at < len(text); {
			m := re.FindStringIndex(text[at:])
			if m == nil {
				break
			}
			s := Span{at + m[0], at + m[1]}
			before, _ := utf8.DecodeLastRuneInString(text[:s.Start])
			after, _ := utf8.DecodeRuneInString(text[s.End:])
			if (ok == nil || ok(text[s.Start:s.End])) && !(s.Start > 0 && isWord(before)) && !(s.End < len(text) && isWord(after)) {
				out = append(out, s)
				at = s.End
			} else {
				_, w := utf8.DecodeRuneInString(text[s.Start:])
				at = s.Start + w
				for at < s.End && text[at-1] >= '0' && text[at-1] <= '9' && text[at] >= '0' && text[at] <= '9' {
					at++ // a part of a number is not a number
				}
			}
		}
		return out
	}
}

// isWord is \w of Python's re.
func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

var emailRest = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\\.)+" +
	"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?|\\[(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?|[A-Za-z0-9-]*[A-Za-z0-9]:)])")

func isLocalPart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' ||
		strings.IndexByte("!#$%&'*+/=?^_`{|}~-", c) >= 0
}

// findEmails finds addresses as the reference's expression does: from each @ back to the first place where a word begins or ends.
func findEmails(_ *PII, text string) []Span {
	var out []Span
	end := 0
	for i := 0; i < len(text); i++ {
		k := strings.IndexByte(text[i:], '@')
		if k < 0 {
			break
		}
		i += k
		from := i
		for from > end && isLocalPart(text[from-1]) && i-from < 512 {
			from--
		}
		for p := from; p < i; p++ {
			before, _ := utf8.DecodeLastRuneInString(text[:p])
			here, _ := utf8.DecodeRuneInString(text[p:])
			if (p > 0 && isWord(before)) == isWord(here) || text[p] == '.' {
				continue
			}
			if m := emailRest.FindStringIndex(text[p:min(len(text), i+512)]); m != nil {
				out = append(out, Span{p, p + m[1]})
				end = p + m[1]
				i = end - 1
				break
			}
		}
	}
	return out
}

var ipv4 = regexp.MustCompile(`(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)`)

// notGlobal are the networks that Python's ipaddress does not count as public.
var notGlobal = func() (out []netip.Prefix) {
	for _, s := range strings.Fields("0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/29 " +
		"192.0.0.170/31 192.0.2.0/24 " +
		"192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32") {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

func findIPv4(p *PII, text string) (out []Span) {
	for _, m := range ipv4.FindAllStringIndex(text, -1) {
		a, err := netip.ParseAddr(text[m[0]:m[1]])
		if err != nil || p.OnlyRemovePublicIPs && slices.ContainsFunc(notGlobal, func(n netip.Prefix) bool { return n.Contains(a) }) {
			continue
		}
		if p.KeepVersions && isVersion(text, m[0], m[1]) {
			continue
		}
		out = append(out, Span{m[0], m[1]})
	}
	return out
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// versionWord stands before a number that is a version.
var versionWord = regexp.MustCompile(`(?i)\b(?:version|versions|ver\.?|release|revision|rev\.?|build|firmware|v\.?)["']?[ :=]{0,3}["']?[<>=~^]{0,2} ?$`)

// isVersion says whether what looks like an address is a number of more parts, or the version of something: after a word that says so, a
// name and a hyphen or a slash (as in openssl-1.1.1.1), or before more of the name (1.2.3.4.tar.gz, 1.2.3.4-beta).
func isVersion(text string, from, to int) bool {
	before, after := text[:from], text[to:]
	if before != "" {
		last := before[len(before)-1]
		if last == '.' || isDigit(last) || versionWord.MatchString(before[max(0, len(before)-24):]) {
			return true
		}
		prior := byte(0)
		if len(before) > 1 {
			prior = before[len(before)-2] | 0x20
		}
		if letter := prior >= 'a' && prior <= 'z' || prior == ')'; strings.IndexByte("-/_", last) >= 0 && letter {
			return true
		}
		if x := last | 0x20; x >= 'a' && x <= 'z' { // r1.2.3.4
			return true
		}
	}
	if after == "" {
		return false
	}
	next := byte(0)
	if len(after) > 1 {
		next = after[1]
	}
	lower := next >= 'a' && next <= 'z'
	return isDigit(after[0]) || after[0] == '.' && isDigit(next) || strings.IndexByte("-+~_", after[0]) >= 0 && lower ||
		after[0] == '.' && lower
}

var ipv6 = regexp.MustCompile(`[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:%[0-9A-Za-z]+)?`)

func findIPv6(_ *PII, text string) (out []Span) {
	for _, m := range ipv6.FindAllStringIndex(text, -1) {
		s := strings.TrimRight(text[m[0]:m[1]], ":")
		a, err := netip.ParseAddr(s)
		before, _ := utf8.DecodeLastRuneInString(text[:m[0]])
		after, _ := utf8.DecodeRuneInString(text[m[0]+len(s):])
		if err != nil || !a.Is6() || a.IsUnspecified() ||
			strings.Count(s, ":") < 3 && !strings.ContainsAny(s, "0123456789") || len(s) < 5 ||
			m[0] > 0 && isWord(before) || m[0]+len(s) < len(text) && isWord(after) {
			continue
		}
		out = append(out, Span{m[0], m[0] + len(s)})
	}
	return out
}

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// isCard is the Luhn test over 13 to 19 digits, of an issuer's range.
func isCard(s string) bool {
	d := digitsOf(s)
	if len(d) < 13 || len(d) > 19 || d[0] < '2' || d[0] > '6' {
		return false
	}
	sum := 0
	for i := range len(d) {
		n := int(d[len(d)-1-i] - '0')
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

// isIBAN is the test of ISO 7064: moved and written in numbers, the rest by 97 is 1.
func isIBAN(s string) bool {
	s = strings.ReplaceAll(s, " ", "")
	if len(s) < 15 || len(s) > 34 {
		return false
	}
	var b strings.Builder
	for _, r := range s[4:] + s[:4] {
		if r >= 'A' {
			b.WriteString(strconv.Itoa(int(r-'A') + 10))
		} else {
			b.WriteRune(r)
		}
	}
	n, ok := new(big.Int).SetString(b.String(), 10)
	return ok && n.Mod(n, big.NewInt(97)).Int64() == 1
}
