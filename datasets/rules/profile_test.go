package rules

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestProfiles: a profile is a name in place of a list, its rules stand in a chain under their own names, and what it does not have is an
// error that says what there is.
func TestProfiles(t *testing.T) {
	for text, want := range map[string]string{"clean: docs": "docs", "clean: [web]": "web", "clean: [ftfy, {rule: code}]": "ftfy code",
		"clean: []": ""} {
		var v struct{ Clean Steps }
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var got []string
		for _, s := range v.Clean {
			got = append(got, s["rule"].(string))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	chain, err := DecodeChain(`[{"rule": "docs", "without": ["ftfy"]}]`, Tools{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range chain {
		names = append(names, r.Name())
	}
	if got := strings.Join(names, " "); got != "html_text unicode_normalization gopher_repetition gopher_quality" {
		t.Errorf("docs is %s", got)
	}
	for settings, want := range map[string]string{`{"rule": "docs", "language": "sw"}`: "xx is for any other",
		`{"rule": "web", "without": ["c4"]}`: "its rules are html_text", `{"rule": "web", "min_doc_words": 3}`: "min_doc_words"} {
		if _, err := DecodeChain("["+settings+"]", Tools{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
}

// TestSpoken: the language of a text is seen from its script and its most frequent words.
func TestSpoken(t *testing.T) {
	for text, want := range map[string]string{
		"The names of the files that have to be read are in the list of the server.":  "en",
		"Die Namen der Dateien, die gelesen werden, stehen in der Liste des Servers.": "de",
		"Les noms des fichiers qu'il faut lire sont dans la liste du serveur.":        "fr",
		"Имена файлов, которые нужно прочитать, находятся в списке на сервере.":       "ru",
		"Імена файлів, що треба прочитати, знаходяться у списку з сервера та за ним.": "uk",
		"読み取るファイルの名前は、サーバーのリストに is_listed=true とあります。":                                "ja",
		"要读取的文件的名称在服务器的列表中。":                                                          "zh",
		"ชื่อไฟล์ที่ต้องอ่านอยู่ในรายการของเซิร์ฟเวอร์":                               "th",
		"읽어야 할 파일의 이름은 서버의 목록에 있습니다.":                                                 "ko", "ფაილების სახელები": "xx", "": "en",
	} {
		if got := spoken(text).code; got != want {
			t.Errorf("%q is in %s, want %s", text, got, want)
		}
	}
}

// TestOwnRules: what is wrong with a rule of the recipe's own is said, with what to write.
func TestOwnRules(t *testing.T) {
	for settings, want := range map[string]string{
		`{"rule": "regex", "patterns": ["a("]}`:                            `patterns[0] "a("`,
		`{"rule": "regex", "patterns": ["a(?!b)"]}`:                        "no look-around",
		`{"rule": "regex"}`:                                                "patterns names none",
		`{"rule": "regex", "patterns": ["a"], "action": "mask"}`:           "drop, keep or replace",
		`{"rule": "regex", "patterns": ["a"], "replacement": "b"}`:         "goes with action: replace",
		`{"rule": "regex", "patterns": ["a"], "name": "my rule"}`:          "letters, digits",
		`{"rule": "contains", "texts": [""]}`:                              "texts[0] is empty",
		`{"rule": "contains", "texts": ["a"], "least": 0}`:                 "at least 1",
		`{"rule": "field", "tests": ["score is big"]}`:                     "FIELD OPERATOR VALUE",
		`{"rule": "field", "tests": ["score > 1"], "missing": "whatever"}`: "drop or keep",
		`{"rule": "field"}`:                                                "tests names none",
	} {
		if _, err := DecodeChain("["+settings+"]", Tools{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
}
