package rules

import (
	"regexp"
	"strings"
)

// apiKeys are the shapes of keys and tokens that their issuers publish, and blocks of private keys.
var apiKeys = findAll(regexp.MustCompile(strings.Join([]string{
	`-----BEGIN [A-Z ]{0,24}PRIVATE KEY-----[A-Za-z0-9+/=\s:,-]*?-----END [A-Z ]{0,24}PRIVATE KEY-----`,
	`\bsk-(?:proj-|ant-|svcacct-|or-)?[A-Za-z0-9_-]{20,}`,             // OpenAI, Anthropic, OpenRouter
	`\bgh[pousr]_[A-Za-z0-9]{36,}`,                                    // GitHub
	`\bgithub_pat_[A-Za-z0-9_]{22,}`,                                  // GitHub, fine-grained
	`\bglpat-[A-Za-z0-9_-]{20,}`,                                      // GitLab
	`\bhf_[A-Za-z0-9]{30,}`,                                           // Hugging Face
	`\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b`,                         // Amazon Web Services
	`\bAIza[A-Za-z0-9_-]{35}`,                                         // Google
	`\bGOCSPX-[A-Za-z0-9_-]{20,}`,                                     // Google, clients of OAuth
	`\bya29\.[A-Za-z0-9_-]{20,}`,                                      // Google, tokens of access
	`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`,                                // Slack
	`\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}`,                   // Stripe
	`\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}`,                // SendGrid
	`\b(?:AC|SK)[0-9a-f]{32}\b`,                                       // Twilio
	`\bnpm_[A-Za-z0-9]{36}`,                                           // npm
	`\bpypi-[A-Za-z0-9_-]{50,}`,                                       // PyPI
	`\bdo[opr]_v1_[0-9a-f]{64}\b`,                                     // DigitalOcean
	`\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b`,                          // Shopify
	`\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}`,                               // bots of Telegram
	`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`, // JSON Web Tokens (RFC 7519)
}, "|")), nil)

// assigned is a value that is given to a name of a secret, as in configuration and code; its group is the value.
var assigned = regexp.MustCompile(`(?i)\b[a-z_-]*(?:api[_-]?key|secret|access[_-]?token|auth[_-]?token|passwd|password)["']?\s{0,4}(?::|=|:=)\s{0,4}["']?([A-Za-z0-9_+/=.-]{20,})`)

// findAPIKeys finds keys by their shape, and values of names that say what they are, where these look drawn by chance: letters and digits.
func findAPIKeys(p *PII, text string) []Span {
	out := apiKeys(p, text)
	for _, m := range assigned.FindAllStringSubmatchIndex(text, -1) {
		s := Span{m[2], m[3]}
		v := text[s.Start:s.End]
		if strings.ContainsAny(v, "0123456789") && strings.ContainsFunc(v, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }) &&
			!overlaps(out, s) {
			out = append(out, s)
		}
	}
	sortSpans(out)
	return out
}
