package rewards

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Format asks whether a regular expression (RE2's) holds of an answer, anywhere in it: ^ and $ are its beginning and end.
type Format struct {
	Pattern string `json:"pattern" help:"the regular expression"`

	re *regexp.Regexp
}

// Check implements [Checker].
func (w *Format) Check() (err error) {
	if w.Pattern == "" {
		return errors.New("pattern is empty: give the regular expression that an answer is held to")
	}
	if w.re, err = regexp.Compile(w.Pattern); err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	return nil
}

// Score implements [Reward].
func (w *Format) Score(_ context.Context, answers []Answer) ([]float64, error) {
	return each(answers, func(a Answer) float64 { return yes(w.re.MatchString(a.Completion)) }), nil
}

// ThinkFormat is TRL's think_format_reward: an answer begins with <think>, has no second one, and a </think> follows.
type ThinkFormat struct{}

// Score implements [Reward].
func (ThinkFormat) Score(_ context.Context, answers []Answer) ([]float64, error) {
	return each(answers, func(a Answer) float64 {
		rest, ok := strings.CutPrefix(a.Completion, "<think>")
		return yes(ok && !strings.Contains(rest, "<think>") && strings.Contains(rest, "</think>"))
	}), nil
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
