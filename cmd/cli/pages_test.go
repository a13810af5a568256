package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/templates"
	"github.com/adaptflow/adaptflow/templates/assets"
)

// shBlock is a block of commands in a page, with the mark before it that says how a test runs it.
type shBlock struct {
	mark string // "", "skip WHY", "append ARGUMENTS", "exit CODE", "stdin TEXT", "in the repository", "file NAME"
	lang string
	text string
}

var (
	shBlocks = regexp.MustCompile("(?s)(?:<!-- test: ([^\n]*) -->\n)?```(sh|yaml)\n(.*?)```")
	ellipsis = regexp.MustCompile(`\\\n *`)
)

func blocksOf(t *testing.T, page string) (out []shBlock) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range shBlocks.FindAllSubmatch(text, -1) {
		b := shBlock{string(m[1]), string(m[2]), string(m[3])}
		if b.lang == "sh" || strings.HasPrefix(b.mark, "file ") {
			out = append(out, b)
		}
	}
	return out
}

// TestPages runs every command of README, the tutorials and the page of dead letters, one page after another in a folder of its own, as a
// reader would: a command that fails, or whose exit code is not the one that the page's mark says, is a fault of the page. The embedded
// model stands for those that pages name; marks in the pages make runs short. Blocks marked "skip" need a cluster or wait; they are logged.
func TestPages(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the commands of the pages")
	}
	model, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{"README.md", "docs/how-to/dead-letters.md"}
	tutorials, err := filepath.Glob("../../docs/tutorials/*.md")
	if err != nil || len(tutorials) < 3 {
		t.Fatal(tutorials, err)
	}
	for _, p := range tutorials {
		pages = append(pages, "docs/tutorials/"+filepath.Base(p))
	}
	bin := t.TempDir()
	shim := "#!/bin/sh\n" + asMain + "=1 exec '" + os.Args[0] + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "adaptflow"), []byte(shim), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		t.Run(strings.ReplaceAll(page, "/", "_"), func(t *testing.T) {
			dir := readerFolder(t, model)
			for _, b := range blocksOf(t, page) {
				runBlock(t, b, dir, bin)
			}
		})
	}
}

func runBlock(t *testing.T, b shBlock, dir, bin string) {
	t.Helper()
	how, rest, _ := strings.Cut(b.mark, " ")
	script, want, in := strings.TrimSpace(b.text), 0, ""
	cwd := dir
	env := append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HF_HUB_OFFLINE=1")
	switch how {
	case "":
	case "skip":
		t.Logf("not run (%s): %.60q", rest, script)
		return
	case "file":
		name, _, _ := strings.Cut(rest, ",")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	case "append":
		script += " " + rest
	case "exit":
		want, _ = strconv.Atoi(rest)
	case "stdin":
		in = rest + "\n"
	case "in": // the repository
		cwd = "../.."
		env = append(env, "GOBIN="+filepath.Join(bin, "go")) // one for all pages, which is quicker
	default:
		t.Fatalf("the mark %q is unknown", b.mark)
	}
	began := time.Now()
	c := exec.Command("bash", "-euo", "pipefail", "-c", script)
	c.Dir, c.Env, c.Stdin = cwd, env, strings.NewReader(in)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	if code := c.ProcessState.ExitCode(); code != want {
		t.Fatalf("exit code %d, want %d:\n%s\n%s", code, want, script, out)
	}
	t.Logf("%.1f s: %.60q", time.Since(began).Seconds(), script)
}

// readerFolder is a folder with what a reader of the pages has: models, documents, rows.
func readerFolder(t *testing.T, model string) string {
	t.Helper()
	dir := t.TempDir()
	b := &desk{t, dir}
	for _, d := range []string{"models", "HuggingFaceTB", "documents", "chats", "incoming"} {
		if err := os.Mkdir(b.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"models/SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M"} {
		if err := os.Symlink(model, b.path(name)); err != nil {
			t.Skip("no links here: ", err)
		}
	}
	sentence := func(i int) string {
		return fmt.Sprintf("Note %d: the ferry to island %d leaves the harbour at %d in the morning, and comes back late in the evening "+
			"with %d passengers, mail from the mainland, and whatever the captain was asked to bring along.", i, i*7%13, 6+i%5, 20+i*3)
	}
	rows := func(name string, n int, row func(i int) string) {
		var text bytes.Buffer
		for i := range n {
			fmt.Fprintln(&text, row(i))
		}
		b.file(name, text.String())
	}
	for i := 1; i <= 8; i++ {
		text := sentence(i) + "\n" + sentence(i+20) + "\n"
		if i == 2 {
			text = "Far too short, this.\n"
		}
		b.file(fmt.Sprintf("documents/notes-%d.txt", i), text)
		rows(fmt.Sprintf("incoming/%02d.jsonl", i%3), 12, func(k int) string {
			return fmt.Sprintf(`{"text": %q}`, sentence(i*100+k))
		})
	}
	rows("general.jsonl", 4, func(i int) string { return fmt.Sprintf(`{"text": %q}`, sentence(i+1000)) })
	rows("train.jsonl", 24, func(i int) string {
		return fmt.Sprintf(`{"question": "How many on %d?", "answer": "There are #### %d"}`, i, i*3)
	})
	rows("pairs.jsonl", 24, func(i int) string {
		return fmt.Sprintf(`{"prompt": "Ferry %d?", "chosen": "It leaves at %d.", "rejected": "No idea."}`, i, i%12)
	})
	rows("chats/may.jsonl", 24, func(i int) string { return fmt.Sprintf(`{"user": "u%d", "text": %q}`, i%2, sentence(i)) })
	return dir
}

// TestPagesParse: every command of adaptflow in a page of docs, run by TestPages or not, has a name, flags and settings that there are.
func TestPagesParse(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*/*.md")
	if err != nil || len(pages) < 20 {
		t.Fatal(pages, err)
	}
	parsed := 0
	for _, page := range append(pages, "../../README.md") {
		for _, b := range blocksOf(t, strings.TrimPrefix(page, "../../")) {
			for line := range strings.Lines(ellipsis.ReplaceAllString(b.text, " ")) {
				_, line, found := strings.Cut(" "+strings.TrimSpace(line), " adaptflow ")
				if !found || b.lang != "sh" || strings.HasPrefix(b.mark, "exit") {
					continue
				}
				line, _, _ = strings.Cut(line, " # ")
				line, _, _ = strings.Cut(line, " > ")
				if err := parses(words(line)); err != nil {
					t.Errorf("%s: adaptflow %s: %v", page, line, err)
				}
				parsed++
			}
		}
	}
	if parsed < 40 {
		t.Errorf("%d commands: where are they?", parsed)
	}
	for _, wrong := range []string{"run domain-adaptation --sett steps=1", "runn x", "run domain-adaptation --set stepps=1"} {
		if parses(words(wrong)) == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
	for _, tp := range templates.List() {
		if _, err := os.Stat("../../docs/how-to/" + tp.Name + ".md"); err != nil {
			t.Errorf("the template %s has no page: write docs/how-to/%s.md, and name it in docs/README.md", tp.Name, tp.Name)
		}
	}
}

// parses says what is wrong with the arguments of a command.
func parses(args []string) error {
	root := command()
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if !c.Runnable() {
		return fmt.Errorf("%s is not a command by itself", c.CommandPath())
	}
	c.InheritedFlags() // which adds those of the parents
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	set, err := c.Flags().GetStringArray("set")
	if err != nil || c.Flags().NArg() == 0 {
		return nil
	}
	tp, err := templates.Get(c.Flags().Arg(0))
	if err != nil {
		return err
	}
	_, err = tp.Resolve("", nil, set)
	return err
}

// words cuts a line as a shell does, with quotes of either kind.
func words(line string) (out []string) {
	var word strings.Builder
	quote, in := rune(0), false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == ' ' || r == '\t':
			if in {
				out = append(out, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	return out
}
