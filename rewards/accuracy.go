package rewards

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strings"
)

// Accuracy compares an answer with the right one. An answer to a row without one has no reward.
type Accuracy struct {
	By     string  `json:"by" help:"auto: by the number, where the right answer is one, else by the text; number: by the last number of each, or that in \\boxed{} or after ####; exact: by the whole text; contains: the right one is in it; begins: it begins with the right one"`
	Right  float64 `json:"right" help:"the reward of a right answer; 0 for 1"`
	Wrong  float64 `json:"wrong" help:"the reward of a wrong answer"`
	After  string  `json:"after" help:"of an answer only what follows the last such text counts, as </think>; an answer without it is wrong"`
	Before string  `json:"before" help:"of an answer, behind that, only what stands before the first such text counts, as the end of a line"`
	Within float64 `json:"within" help:"numbers may differ by so much"`
}

// Check implements [Checker].
func (w *Accuracy) Check() error {
	switch w.By {
	case "auto", "number", "exact", "contains", "begins":
	default:
		return fmt.Errorf("by is %q; it must be auto, number, exact, contains or begins", w.By)
	}
	if !(w.Within >= 0) {
		return fmt.Errorf("within is %g; it must be at least 0", w.Within)
	}
	return nil
}

// Score implements [Reward].
func (w *Accuracy) Score(_ context.Context, answers []Answer) ([]float64, error) {
	return each(answers, w.one), nil
}

func (w *Accuracy) one(a Answer) float64 {
	right := strings.TrimSpace(a.Right)
	if right == "" {
		return math.NaN()
	}
	text := a.Completion
	if w.After != "" {
		at := strings.LastIndex(text, w.After)
		if at < 0 {
			return w.Wrong
		}
		text = text[at+len(w.After):]
	}
	if w.Before != "" {
		text, _, _ = strings.Cut(text, w.Before)
	}
	if w.same(strings.TrimSpace(text), right) {
		if w.Right == 0 {
			return 1
		}
		return w.Right
	}
	return w.Wrong
}

func (w *Accuracy) same(text, right string) bool {
	by := w.By
	if by == "auto" {
		if by = "exact"; numberOf(right) != nil {
			by = "number"
		}
	}
	switch by {
	case "exact":
		return strings.Join(strings.Fields(text), " ") == strings.Join(strings.Fields(right), " ")
	case "contains":
		return strings.Contains(text, right)
	case "begins":
		return strings.HasPrefix(text, right)
	}
	x, y := numberOf(text), numberOf(right)
	if x == nil || y == nil {
		return false
	}
	d := new(big.Rat).Sub(x, y)
	return d.Abs(d).Cmp(new(big.Rat).SetFloat64(w.Within)) <= 0
}

var (
	numbers = regexp.MustCompile(`-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?`)
	boxed   = regexp.MustCompile(`\\boxed\{([^{}]*)\}`)
	frac    = regexp.MustCompile(`\\d?frac\{(-?\d+)\}\{(\d+)\}`)
)

// numberOf is the number that a text ends with: that in its last \boxed{}, or after its last ####, where there is one, else the last. nil
// where there is none.
func numberOf(text string) *big.Rat {
	if m := boxed.FindAllStringSubmatch(frac.ReplaceAllString(text, "$1/$2"), -1); m != nil {
		text = m[len(m)-1][1]
	} else if at := strings.LastIndex(text, "####"); at >= 0 {
		text = text[at+4:]
	}
	all := numbers.FindAllString(frac.ReplaceAllString(text, "$1/$2"), -1)
	for len(all) > 0 {
		last := all[len(all)-1]
		if len(last) > 200 {
			return nil
		}
		if r, ok := new(big.Rat).SetString(strings.ReplaceAll(last, ",", "")); ok {
			return r
		}
		all = all[:len(all)-1] // a division by 0
	}
	return nil
}
