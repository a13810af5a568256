package serve

import (
	"strings"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/tokenize"
)

// speech makes text of the tokens of an answer as they come: whole characters alone, nothing that may be the beginning of a stop text, and
// nothing from a stop text on.
type speech struct {
	tk     tokenize.Tokenizer
	stops  []string
	with   bool // the stop text is shown
	ids    []int32
	text   string // of all tokens
	sent   int    // bytes of it that were given out
	finish string // why it ended: stop, length; "" while it goes on
}

const replacement = "\uFFFD"

// add takes a token, and gives what of the text is new and can be shown.
func (p *speech) add(s evaluate.Said) string {
	if !s.Ended {
		p.ids = append(p.ids, s.ID)
		p.text = p.tk.Decode(p.ids, true)
	}
	end := len(p.text)
	if at, stop := p.stopped(); at >= 0 {
		p.finish, end = "stop", at
		if p.with {
			end += len(stop)
		}
		p.text = p.text[:end]
		return p.show(end)
	}
	switch {
	case s.Ended:
		p.finish = "stop"
	case s.Last:
		p.finish = "length"
	default:
		whole := strings.TrimRight(p.text, replacement)
		end = len(whole)
		for _, stop := range p.stops {
			end = min(end, len(whole)-overlap(whole, stop))
		}
	}
	return p.show(end)
}

// show gives out the text up to a place.
func (p *speech) show(end int) string {
	if end <= p.sent {
		return ""
	}
	new := p.text[p.sent:end]
	p.sent = end
	return new
}

// stopped is where the first stop text begins, -1 for nowhere.
func (p *speech) stopped() (at int, stop string) {
	at = -1
	for _, s := range p.stops {
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
