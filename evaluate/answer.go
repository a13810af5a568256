package evaluate

import "strings"

// FinalAnswer is what stands on the line after the last delimiter, as GSM8K's "#### 18" has it; the whole text when the delimiter is empty. found is false where the
// text has no such delimiter.
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

// Match counts how generated answers agree with the right ones. Both measures are means over the questions, from 0 to 1.
type Match struct {
	Questions  int     `json:"questions"`
	ExactMatch float64 `json:"exact_match"`
	F1         float64 `json:"f1"` // of the words, SQuAD 2.0's
}

// NewMatch compares predictions with references, one by one. Where a reference has the delimiter only what follows it counts, and a prediction without one is wrong;
// texts are compared as SQuAD's script does (so 1,000 is 1000).
func NewMatch(predictions, references []string, delimiter string) Match {
	m := Match{Questions: len(references)}
	for i, ref := range references {
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
	return m
}
