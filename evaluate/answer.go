package evaluate

import (
	"fmt"
	"regexp"
	"strings"
)

// How answers are compared.
const (
	MatchSQuAD  = "squad"  // as texts, normalised as SQuAD's script does: see NormalizeAnswer
	MatchNumber = "number" // as numbers, by GSM8K's rule: see NumberAnswer
)

// FinalAnswer is what stands on the line after the last delimiter, as GSM8K's "#### 18" has it; the whole text when the delimiter is empty.
// found is false where the text has no such delimiter.
func FinalAnswer(text, delimiter string) (answer string, found bool) {
	if delimiter == "" {
		return strings.TrimSpace(text), true
	}
	i := strings.LastIndex(text, delimiter)
	if i < 0 {
		return "", false
	}
	answer, _, _ = strings.Cut(strings.TrimLeft(text[i+len(delimiter):], " \t"), "\n")
	return strings.TrimSpace(answer), true
}

var (
	numberAt   = regexp.MustCompile(`^[ \t]*(\$?-?\$?[0-9.,]+)`)
	numberLast = regexp.MustCompile(`-?[$0-9.,]{2,}|-?[0-9]+`)
)

// NumberAnswer is the number that a text answers, as it is written, without commas, dollar signs and a full stop at its end. It follows the
// evaluation of GSM8K (Cobbe et al. 2021): the first number that follows a delimiter; numbers are compared as they are written, so 18.0 is
// not 18. Beyond it, a dollar sign before the number and the full stop are passed over, as lm-evaluation-harness does. Without a delimiter
// it is the last number of the text, that harness's flexible-extract. found is false where there is none.
func NumberAnswer(text, delimiter string) (number string, found bool) {
	if delimiter == "" {
		all := numberLast.FindAllString(text, -1)
		for i := len(all) - 1; i >= 0; i-- {
			if n := bareNumber(all[i]); n != "" {
				return n, true
			}
		}
		return "", false
	}
	for {
		i := strings.Index(text, delimiter)
		if i < 0 {
			return "", false
		}
		text = text[i+len(delimiter):]
		if m := numberAt.FindStringSubmatch(text); m != nil {
			number = bareNumber(m[1])
			return number, number != ""
		}
	}
}

// bareNumber takes off what does not count; "" where no digit is left.
func bareNumber(s string) string {
	s = strings.TrimSuffix(strings.NewReplacer(",", "", "$", "").Replace(s), ".")
	if !strings.ContainsAny(s, "0123456789") {
		return ""
	}
	return s
}

// Match counts how generated answers agree with the right ones. Both measures are means over the questions, from 0 to 1.
type Match struct {
	Questions  int     `json:"questions"`
	Rule       string  `json:"rule"` // MatchSQuAD or MatchNumber
	ExactMatch float64 `json:"exact_match"`
	F1         float64 `json:"f1,omitempty"` // of the words, SQuAD 2.0's; of MatchSQuAD alone
}

// NewMatch compares predictions with references, one by one, by a rule. A prediction without an answer is wrong.
//
// MatchSQuAD: where a reference has the delimiter only what follows it counts, else the whole texts. MatchNumber: the numbers of both; a
// reference without one is an error.
func NewMatch(predictions, references []string, delimiter, rule string) (Match, error) {
	m := Match{Questions: len(references), Rule: rule}
	for i, ref := range references {
		if rule == MatchNumber {
			want, found := NumberAnswer(ref, delimiter)
			if !found {
				return m, fmt.Errorf("the right answer of held-out question %d has no number after %q: compare texts with answer_match "+
					"squad, or set answer_delimiter", i, delimiter)
			}
			if got, ok := NumberAnswer(predictions[i], delimiter); ok && got == want {
				m.ExactMatch++
			}
			continue
		}
		want, found := FinalAnswer(ref, delimiter)
		got, ok := FinalAnswer(predictions[i], delimiter)
		if !found {
			want, got, ok = ref, predictions[i], true
		}
		if ok {
			m.ExactMatch += ExactMatch(got, want)
			m.F1 += AnswerF1(got, want)
		}
	}
	if n := float64(m.Questions); n > 0 {
		m.ExactMatch, m.F1 = m.ExactMatch/n, m.F1/n
	}
	return m, nil
}
