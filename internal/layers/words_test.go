package layers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// phrase is a wording that docs/style.md rules out: where it stands, and what stands in its place.
type phrase struct {
	name    string // as docs/style.md lists it
	find    *regexp.Regexp
	allowed *regexp.Regexp // matches of find that are idiomatic
	instead string
}

// ruledOut are the phrases of docs/style.md.
var ruledOut = []phrase{
	{"is no X", regexp.MustCompile(`(\w+ )?\b(?:[Ii]s|[Aa]re|was|were|be|been|being) no (?:\w+)`),
		regexp.MustCompile(`^([Tt]here|must|may|can|should|need|will|to|would) |` +
			` no (longer|more|larger|smaller|less|faster|better|worse|other|need|reason|matter|way|good|such)$`),
		`"is not a …", "is not …" or "must be …"`},
	{"is told", regexp.MustCompile(`\b(?:[Ii]s|[Aa]re|was|were|be|been|being) told\b( apart)?`), regexp.MustCompile(` apart$`),
		`who does what: "receives", "reports", "prints"`},
	{"hears of", regexp.MustCompile(`\b([Hh]ears?|[Hh]eard) of\b`), nil, `"receives", "sees"`},
	{"gives free", regexp.MustCompile(`\b([Gg]ives?|[Gg]ave|given) free\b`), nil, `"releases", "frees"`},
}

// wrapped are the ends of lines within a comment or a string that goes on.
var wrapped = regexp.MustCompile(`\n\s*(//|#)\s*|"\s*\+\s*\n\s*"|\n\s*`)

// wrongWords are the phrases of a text that are ruled out.
func wrongWords(text string) (out []string) {
	text = strings.Join(strings.Fields(wrapped.ReplaceAllString(text, " ")), " ")
	for _, p := range ruledOut {
		for _, m := range p.find.FindAllString(text, -1) {
			if p.allowed == nil || !p.allowed.MatchString(m) {
				out = append(out, fmt.Sprintf("%q: %s", m, p.instead))
			}
		}
	}
	return out
}

// TestWords: the Go code, its comments, the scripts and the pages have none of the phrases that docs/style.md rules out.
func TestWords(t *testing.T) {
	root := filepath.Join("..", "..")
	list := exec.Command("git", "ls-files", "*.go", "*.md", "*.sh", "*.py", "*.yaml")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Skipf("the files of the tree are not known: %v", err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "style.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ruledOut {
		if !strings.Contains(string(page), "| "+p.name+" |") {
			t.Errorf("docs/style.md does not list %q", p.name)
		}
	}
	for name := range strings.FieldsSeq(string(names)) {
		if name == "docs/style.md" || name == "internal/layers/words_test.go" || strings.Contains(name, "testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if os.IsNotExist(err) {
			continue // removed and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range wrongWords(string(text)) {
			t.Errorf("%s: %s (docs/style.md)", name, w)
		}
	}
}

// TestWrongWords guards the guard.
func TestWrongWords(t *testing.T) {
	for text, want := range map[string]int{
		"X is no valid Y": 1, "there is no X": 0, "There\n// is no X": 0, "which is\n// no link": 1, "is no longer": 0,
		"they are no pairs": 1,
		"a caller is told":  1, "they are told apart": 0, "it hears of a step": 1, "gives free memory": 1, `"it is " +` + "\n\t" + `"no file"`: 1,
	} {
		if got := wrongWords(text); len(got) != want {
			t.Errorf("%q: %v, want %d", text, got, want)
		}
	}
}
