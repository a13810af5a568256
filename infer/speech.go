package infer

import (
	"strings"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/tokenize"
)

// Speech makes text of the tokens of an answer as they come: whole characters alone, nothing that may be the beginning of a stop text, and
// nothing from a stop text on.
type Speech struct {
	Tokenizer tokenize.Tokenizer
	Stops     []string
	WithStop  bool   // the stop text is shown
	Finish    string // why it ended: stop, length; "" while it goes on

	ids  []int32
	text string // of all tokens
	sent int    // bytes of it that were given out
}

// Text is what has been said so far, up to the stop text.
func (p *Speech) Text() string { return p.text }

const replacement = "\uFFFD"

// Add takes a token, and gives what of the text is new and can be shown.
func (p *Speech) Add(s evaluate.Said) string {
	if !s.Ended {
		p.ids = append(p.ids, s.ID)
		p.text = p.Tokenizer.Decode(p.ids, true)
	}
	end := len(p.text)
	if at, stop := p.stopped(); at >= 0 {
		p.Finish, end = "stop", at
		if p.WithStop {
			end += len(stop)
		}
		p.text = p.text[:end]
		return p.show(end)
	}
	switch {
	case s.Ended:
		p.Finish = "stop"
	case s.Last:
		p.Finish = "length"
	default:
		whole := strings.TrimRight(p.text, replacement)
		end = len(whole)
		for _, stop := range p.Stops {
			end = min(end, len(whole)-overlap(whole, stop))
		}
	}
	return p.show(end)
}

// show gives out the text up to a place.
func (p *Speech) show(end int) string {
	if end <= p.sent {
		return ""
	}
	new := p.text[p.sent:end]
	p.sent = end
	return new
}

// stopped is where the first stop text begins, -1 for nowhere.
func (p *Speech) stopped() (at int, stop string) {
	at = -1
	for _, s := range p.Stops {
		from := max(0, p.sent-len(s))
		if i := strings.Index(p.text[from:], s); i >= 0 && (at < 0 || from+i < at) {
			at, stop = from+i, s
		}
	}
	return at, stop
}

// overlap is how many bytes at the end of a text begin a stop text.
func overlap(text, stop string) int {
	for n := min(len(stop)-1, len(text)); n > 0; n-- {
		if strings.HasSuffix(text, stop[:n]) {
			return n
		}
	}
	return 0
}
