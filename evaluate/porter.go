package evaluate

import "strings"

// porterStem is the stem of an English word in lower case by Porter (1980), with the extensions of NLTK's PorterStemmer, which rouge_score
// uses.
func porterStem(w string) string {
	if s, ok := porterIrregular[w]; ok {
		return s
	}
	if len(w) <= 2 {
		return w
	}
	return porter5b(porter5a(porter4(porter3(porter2(porter1c(porter1b(porter1a(w))))))))
}

var porterIrregular = map[string]string{
	"sky": "sky", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "innings": "inning", "inning": "inning",
	"outings": "outing", "outing": "outing",
	"cannings": "canning", "canning": "canning", "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}

// porterConsonant reports whether the i-th letter is a consonant; y is one at the beginning and after a vowel.
func porterConsonant(w string, i int) bool {
	switch w[i] {
	case 'a', 'e', 'i', 'o', 'u':
		return false
	case 'y':
		return i == 0 || !porterConsonant(w, i-1)
	}
	return true
}

// porterMeasure counts the vowels that a consonant follows: m.
func porterMeasure(w string) (m int) {
	for i := 1; i < len(w); i++ {
		if porterConsonant(w, i) && !porterConsonant(w, i-1) {
			m++
		}
	}
	return m
}

func porterVowel(w string) bool {
	for i := range len(w) {
		if !porterConsonant(w, i) {
			return true
		}
	}
	return false
}

// porterCVC is Porter's *o: consonant, vowel, consonant other than w, x and y; of two letters vowel and consonant.
func porterCVC(w string) bool {
	n := len(w)
	if n == 2 {
		return !porterConsonant(w, 0) && porterConsonant(w, 1)
	}
	return n >= 3 && porterConsonant(w, n-3) && !porterConsonant(w, n-2) && porterConsonant(w, n-1) && strings.IndexByte("wxy", w[n-1]) < 0
}

// porterRule replaces a suffix where the stem before it is as the condition wants.
type porterRule struct {
	suffix, new string
	when        func(stem string) bool
}

// porterApply applies the first rule whose suffix the word has, or none where its condition fails.
func porterApply(w string, rules []porterRule) string {
	for _, r := range rules {
		if stem, ok := strings.CutSuffix(w, r.suffix); ok {
			if r.when == nil || r.when(stem) {
				return stem + r.new
			}
			return w
		}
	}
	return w
}

func porterSome(stem string) bool { return porterMeasure(stem) > 0 }
func porterMore(stem string) bool { return porterMeasure(stem) > 1 }

// porterRules are pairs of suffix and replacement under one condition.
func porterRules(when func(string) bool, pairs ...string) (out []porterRule) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, porterRule{pairs[i], pairs[i+1], when})
	}
	return out
}

var (
	porterRules1a = porterRules(nil, "sses", "ss", "ies", "i", "ss", "ss", "s", "")
	porterRules2  = porterRules(porterSome, "ational", "ate", "tional", "tion", "enci", "ence", "anci", "ance", "izer", "ize", "bli", "ble",
		"alli", "al", "entli", "ent", "eli", "e",
		"ousli", "ous", "ization", "ize", "ation", "ate", "ator", "ate", "alism", "al", "iveness", "ive", "fulness", "ful", "ousness",
		"ous", "aliti", "al", "iviti", "ive",
		"biliti", "ble", "fulli", "ful")
	porterRules3 = porterRules(porterSome, "icate", "ic", "ative", "", "alize", "al", "iciti", "ic", "ical", "ic", "ful", "", "ness", "")
	porterRules4 = append(append(porterRules(porterMore, "al", "", "ance", "", "ence", "", "er", "", "ic", "", "able", "", "ible", "",
		"ant", "", "ement", "", "ment", "", "ent", ""),
		porterRule{"ion", "", func(s string) bool { return porterMore(s) && strings.IndexByte("st", s[len(s)-1]) >= 0 }}),
		porterRules(porterMore, "ou", "", "ism", "", "ate", "", "iti", "", "ous", "", "ive", "", "ize", "")...)
)

func porter1a(w string) string {
	if strings.HasSuffix(w, "ies") && len(w) == 4 {
		return w[:len(w)-1]
	}
	return porterApply(w, porterRules1a)
}

func porter1b(w string) string {
	if stem, ok := strings.CutSuffix(w, "ied"); ok {
		if len(w) == 4 {
			return stem + "ie"
		}
		return stem + "i"
	}
	if stem, ok := strings.CutSuffix(w, "eed"); ok {
		if porterSome(stem) {
			return stem + "ee"
		}
		return w
	}
	stem, ok := strings.CutSuffix(w, "ed")
	if !ok || !porterVowel(stem) {
		if stem, ok = strings.CutSuffix(w, "ing"); !ok || !porterVowel(stem) {
			return w
		}
	}
	n := len(stem)
	switch {
	case strings.HasSuffix(stem, "at"), strings.HasSuffix(stem, "bl"), strings.HasSuffix(stem, "iz"):
		return stem + "e"
	case n >= 2 && stem[n-1] == stem[n-2] && porterConsonant(stem, n-1):
		if strings.IndexByte("lsz", stem[n-1]) < 0 {
			return stem[:n-1]
		}
	case porterMeasure(stem) == 1 && porterCVC(stem):
		return stem + "e"
	}
	return stem
}

func porter1c(w string) string {
	return porterApply(w, []porterRule{{"y", "i", func(s string) bool { return len(s) > 1 && porterConsonant(s, len(s)-1) }}})
}

func porter2(w string) string {
	if stem, ok := strings.CutSuffix(w, "alli"); ok && porterSome(stem) {
		return porter2(stem + "al")
	}
	if strings.HasSuffix(w, "logi") { // the l counts with the stem, so that geo is long enough
		if porterSome(w[:len(w)-3]) {
			return w[:len(w)-1]
		}
		return w
	}
	return porterApply(w, porterRules2)
}

func porter3(w string) string { return porterApply(w, porterRules3) }

func porter4(w string) string { return porterApply(w, porterRules4) }

func porter5a(w string) string {
	if stem, ok := strings.CutSuffix(w, "e"); ok {
		if m := porterMeasure(stem); m > 1 || m == 1 && !porterCVC(stem) {
			return stem
		}
	}
	return w
}

func porter5b(w string) string {
	if strings.HasSuffix(w, "ll") && porterMore(w[:len(w)-1]) {
		return w[:len(w)-1]
	}
	return w
}
