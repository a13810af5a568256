package rules

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// language is what the profiles know of a language: thresholds that FineWeb-2 publishes for it, and its most frequent words.
type language struct {
	code    string // ISO 639-1; "xx" for any other
	table   string // FineWeb-2's name of the table that the numbers come from
	script  string
	dupLine float64    // gopher_repetition's dup_line_frac
	top     [3]float64 // the top n-grams of 2, 3 and 4 words
	dup     [6]float64 // repeated n-grams of 5 to 10 words
	punct   float64    // fineweb_quality's line_punct_thr
	newline float64    // fineweb_quality's new_line_ratio
	mean    [2]float64 // characters of a word on average, least and greatest
	alpha   float64    // gopher_quality's max_non_alpha_words_ratio
	stop    string
}

// languages has the thresholds of FineWeb-2's configs (Penedo et al. 2025, "FineWeb2: One Pipeline to Scale Them All", arXiv:2506.20920;
// github.com/huggingface/fineweb-2, configs/*.yml), and for English, which that corpus leaves out, those of Rae et al. 2021 and of FineWeb
// (Penedo et al. 2024); but Gopher's least share of words with a letter, 0.8, is of words between blanks, and where marks are words of
// their own, as here, dialogues of novels fall below it: it is 0.72. Those of any other language are from the middle of these, and no stop
// words are asked for.
var languages = []language{
	{"en", "fineweb", "Latin", .3, [3]float64{.2, .18, .16}, [6]float64{.15, .14, .13, .12, .11, .1}, .12, .3, [2]float64{3, 10}, .72,
		"the be to of and that have with"},
	{"de", "deu_Latn", "Latin", .263, [3]float64{.169, .153, .137}, [6]float64{.141, .134, .126, .117, .108, .098}, 0, .152,
		[2]float64{0, 15}, .774, "der und die in von im den des mit das er dem als wurde für"},
	{"fr", "fra_Latn", "Latin", .264, [3]float64{.161, .149, .134}, [6]float64{.15, .141, .131, .121, .111, .1}, .1, .185,
		[2]float64{2, 11}, .812, "de la le et à en l' des du les est d' un une il dans par au"},
	{"es", "spa_Latn", "Latin", .265, [3]float64{.077, .097, .112}, [6]float64{.152, .137, .123, .114, .107, .099}, .3, .171,
		[2]float64{4, 14}, .825, "de la en el y a que del los se por un con una las su"},
	{"it", "ita_Latn", "Latin", .246, [3]float64{.198, .156, .133}, [6]float64{.144, .136, .127, .118, .109, .1}, .025, .2,
		[2]float64{3, 21}, .807, "di e il la in a del che è della un per nel l' con da i una"},
	{"pt", "por_Latn", "Latin", .325, [3]float64{.093, .117, .139}, [6]float64{.19, .172, .154, .142, .131, .12}, .154, .23,
		[2]float64{3, 13}, .814, "de a e o em do da que um no uma com para na é foi"},
	{"nl", "nld_Latn", "Latin", .333, [3]float64{.093, .117, .14}, [6]float64{.177, .16, .145, .133, .123, .112}, .238, .194,
		[2]float64{3, 16}, .828, "de van in het een en is op voor met door zijn werd hij uit"},
	{"sv", "swe_Latn", "Latin", .292, [3]float64{.242, .195, .174}, [6]float64{.156, .147, .136, .125, .116, .105}, .2, .135,
		[2]float64{3, 12}, .841, "i och är av en som den med på till att för"},
	{"da", "dan_Latn", "Latin", .305, [3]float64{.367, .297, .232}, [6]float64{.169, .158, .147, .134, .123, .112}, .1, .182,
		[2]float64{3, 11}, .798, "i og af en til er den at som på for med det blev var der fra de han et"},
	{"fi", "fin_Latn", "Latin", .333, [3]float64{.101, .132, .163}, [6]float64{.171, .149, .131, .119, .106, .094}, .25, .219,
		[2]float64{4, 13}, .755, "ja on oli hän vuonna myös joka se ei sen ovat sekä mutta että tai vuoden kanssa hänen jälkeen"},
	{"pl", "pol_Latn", "Latin", .353, [3]float64{.096, .12, .144}, [6]float64{.203, .182, .163, .15, .137, .126}, .2, .209,
		[2]float64{3, 11}, .726, "w i na z do się roku od a jest przez po jako oraz o został był nie"},
	{"cs", "ces_Latn", "Latin", .333, [3]float64{.095, .121, .144}, [6]float64{.193, .175, .157, .144, .132, .121}, .125, .233,
		[2]float64{3, 11}, .781, "v a se na je z s do"},
	{"ro", "ron_Latn", "Latin", .289, [3]float64{.161, .146, .131}, [6]float64{.16, .149, .138, .127, .117, .106}, .081, .207,
		[2]float64{1, 14}, .779, "de în a și din la o cu este un pe fost care al"},
	{"hu", "hun_Latn", "Latin", .322, [3]float64{.226, .198, .172}, [6]float64{.169, .159, .148, .136, .124, .112}, .067, .231,
		[2]float64{3, 15}, .766, "a az és is egy volt hogy nem meg de magyar első el között"},
	{"tr", "tur_Latn", "Latin", .303, [3]float64{.094, .114, .136}, [6]float64{.168, .151, .135, .123, .116, .107}, .2, .273,
		[2]float64{3, 21}, .773, "ve bir olarak bu ile için olan da de tarafından yılında sonra en daha ilk"},
	{"vi", "vie_Latn", "Latin", .293, [3]float64{.223, .197, .171}, [6]float64{.178, .163, .15, .136, .124, .111}, .333, .103,
		[2]float64{3, 11}, .803, "là và của một được trong năm các có loài này đã người"},
	{"id", "ind_Latn", "Latin", .25, [3]float64{.088, .104, .12}, [6]float64{.176, .158, .142, .128, .119, .109}, .25, .222,
		[2]float64{3, 11}, .805, "dan yang di pada dari ini dengan adalah untuk dalam"},
	{"ru", "rus_Cyrl", "Cyrillic", .322, [3]float64{.184, .164, .146}, [6]float64{.168, .156, .145, .133, .121, .109}, .231, .139,
		[2]float64{3, 11}, .713, "в и на с года по году из был к не от что за для его как а он также до после"},
	{"uk", "ukr_Cyrl", "Cyrillic", .333, [3]float64{.086, .108, .129}, [6]float64{.176, .157, .139, .125, .113, .102}, .308, .211,
		[2]float64{3, 11}, .694, "у в на і з та до року за що"},
	{"el", "ell_Grek", "Greek", .31, [3]float64{.194, .175, .156}, [6]float64{.174, .163, .153, .142, .13, .119}, .167, .116,
		[2]float64{3, 11}, .809, "του και το της η την από ο με τον να που των στην για στο σε είναι τη τα οι"},
	{"ar", "arb_Arab", "Arabic", .304, [3]float64{.197, .172, .146}, [6]float64{.165, .153, .142, .131, .12, .109}, .143, .189,
		[2]float64{2, 9}, .787, "، في من على إلى عام أن مع أو هو عن التي كان بين ما كانت هي المتحدة بعد"},
	{"hi", "hin_Deva", "Devanagari", .206, [3]float64{.208, .198, .161}, [6]float64{.135, .125, .116, .108, .099, .09}, .091, .316,
		[2]float64{2, 21}, .837, "के में है की और से का को एक हैं पर"},
	{"ko", "kor_Hang", "Hangul", .374, [3]float64{.282, .228, .185}, [6]float64{.201, .184, .168, .154, .14, .127}, .062, .196,
		[2]float64{1, 6}, .791, "의 다 이 는 에 을 한 년 하 은 를 했 고 에서 가 있 으로 인 월 로 되"},
	{"ja", "jpn_Jpan", "Japanese", .375, [3]float64{.121, .129, .145}, [6]float64{.307, .283, .264, .248, .234, .223}, .167, .162,
		[2]float64{1, 5}, .759, "の に を は た て が と で 年 し ・ 月 れ さ"},
	{"zh", "cmn_Hani", "Han", .287, [3]float64{.256, .201, .171}, [6]float64{.198, .182, .167, .154, .14, .127}, .106, .178,
		[2]float64{1, 5}, .735, "的 年 在 月 是 和 日 了 於 · 為 有 被 人 中 为 他 與 後 也 而 由"},
	{"th", "tha_Thai", "Thai", .349, [3]float64{.221, .197, .162}, [6]float64{.185, .168, .152, .137, .124, .111}, 0, .153,
		[2]float64{2, 10}, .9, "ใน ที่ และ ของ เป็น มี การ ได้"},
	{"xx", "", "", .305, [3]float64{.161, .153, .144}, [6]float64{.169, .158, .145, .133, .121, .109}, .125, .194,
		[2]float64{0, 0}, .7, ""},
}

// unspaced says whether the language is written without spaces: its words are characters, of which FineWeb-2's lengths of words, from
// segmenters with dictionaries, say nothing.
func (l *language) unspaced() bool { return l.code == "ja" || l.code == "zh" || l.code == "th" }

// glued says whether stop words are parts of the words that the text is cut into.
func (l *language) glued() bool { return l.code == "th" || l.code == "ko" }

// stopWords are the frequent words.
func (l *language) stopWords() []string { return strings.Fields(l.stop) }

func languageOf(code string) *language {
	for i := range languages {
		if languages[i].code == code {
			return &languages[i]
		}
	}
	return nil
}

// scripts are looked for in order; a character of some counts for several letters of the others, which it says as much as.
var scripts = []struct {
	name   string
	ranges []*unicode.RangeTable
	weight int
}{
	{"Latin", []*unicode.RangeTable{unicode.Latin}, 1},
	{"Cyrillic", []*unicode.RangeTable{unicode.Cyrillic}, 1},
	{"Greek", []*unicode.RangeTable{unicode.Greek}, 1},
	{"Arabic", []*unicode.RangeTable{unicode.Arabic}, 1},
	{"Devanagari", []*unicode.RangeTable{unicode.Devanagari}, 1},
	{"Hangul", []*unicode.RangeTable{unicode.Hangul}, 2},
	{"Japanese", []*unicode.RangeTable{unicode.Hiragana, unicode.Katakana}, 3},
	{"Han", []*unicode.RangeTable{unicode.Han}, 3},
	{"Thai", []*unicode.RangeTable{unicode.Thai}, 1},
}

// languageSample is how much of a text its language is seen from, in bytes.
const languageSample = 32 << 10

// spoken is the language of a text: that of its script, and where several are written in that, the one whose stop words it has most of,
// the first of these where it has none. It is "xx" where the script is of no language of the table.
func spoken(text string) *language {
	if len(text) > languageSample {
		n := languageSample
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	var count [16]int
	other := 0
letters:
	for _, r := range text {
		if r < utf8.RuneSelf {
			if r|0x20 >= 'a' && r|0x20 <= 'z' {
				count[0]++
			}
			continue
		}
		if !unicode.IsLetter(r) {
			continue
		}
		for i := range scripts {
			if unicode.In(r, scripts[i].ranges...) {
				count[i] += scripts[i].weight
				continue letters
			}
		}
		other++
	}
	best := 0
	kana, han := 0, 0
	// Names, options and code are written in Latin letters in texts of any script.
	count[0] /= 4
	for i := range scripts {
		switch scripts[i].name {
		case "Japanese":
			kana = i
		case "Han":
			han = i
		}
		if count[i] > count[best] {
			best = i
		}
	}
	if n := count[kana] + count[han]; n >= count[best] && n > 0 {
		if best = han; count[kana]*10 >= n {
			best = kana // Japanese is written in both
		}
	}
	if other > count[best] {
		return languageOf("xx")
	}
	var written []*language
	for i := range languages {
		if languages[i].script == scripts[best].name {
			written = append(written, &languages[i])
		}
	}
	if len(written) == 1 {
		return written[0]
	}
	return mostSpoken(text, written)
}

// stopIndex are the codes of the languages that have a word among their stop words.
var stopIndex = sync.OnceValue(func() map[string][]string {
	out := map[string][]string{}
	for i := range languages {
		for _, w := range languages[i].stopWords() {
			out[w] = append(out[w], languages[i].code)
		}
	}
	return out
})

// mostSpoken is the first of the languages with most occurrences of its stop words.
func mostSpoken(text string, among []*language) *language {
	hits := map[string]int{}
	for w := range strings.FieldsFuncSeq(text, func(r rune) bool { return IsSpace(r) || strings.ContainsRune(`.,;:!?()[]"«»„“”`, r) }) {
		w = lower(w)
		for _, l := range stopIndex()[w] {
			hits[l]++
		}
		if i := strings.IndexAny(w, "'’"); i > 0 { // l'homme
			for _, l := range stopIndex()[w[:i]+"'"] {
				hits[l]++
			}
		}
	}
	best := among[0]
	for _, l := range among {
		if hits[l.code] > hits[best.code] {
			best = l
		}
	}
	return best
}
