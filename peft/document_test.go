package peft_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/page"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// methodsFile is the document, measuredFile what `adaptflow bench methods --update` wrote for it.
var methodsFile, measuredFile = filepath.Join("..", "docs", "methods.md"), filepath.Join("..", "docs", "methods.json")

// measurements is the part of measuredFile that the document shows.
type measurements struct {
	Config           string
	Batch, Seq, Rank int
	Methods          []struct {
		Method, Base, Error string
		Options             map[string]any
		Speed               float64 `json:"tokens_per_second"`
		Peak                int64   `json:"peak_rss_bytes"`
		Trainable           int     `json:"trainable_parameters"`
		Kernels             string  `json:"kernel_set"`
		Threads             int
	}
}

// trait is what the cases of a method say of one property.
type trait struct {
	refused []string // what distinguishes the cases that have it not
	granted int
}

// String is yes, no or in part.
func (p trait) String() string {
	switch {
	case len(p.refused) == 0:
		return "yes"
	case p.granted == 0:
		return "no"
	}
	return "in part"
}

// add counts a case.
func (p *trait) add(has bool, c methodCase) {
	if has {
		p.granted++
		return
	}
	config := maps.Clone(c.Config)
	for _, k := range []string{"peft_type", "target_modules", "r", "lora_alpha", "fan_in_fan_out"} {
		delete(config, k)
	}
	p.refused = append(p.refused, fields(config))
}

// TestMethodsDocument makes docs/methods.md of the table of methods, the doc comments of their types, the cases of testdata/methods and the
// measured file, and compares it with the one that is there: run `go generate ./peft` where it differs.
func TestMethodsDocument(t *testing.T) {
	page.Current(t, methodsFile, "go generate ./peft", methodsDocument(t))
}

func methodsDocument(t *testing.T) []byte {
	t.Helper()
	measured := golden.JSON[measurements](t, measuredFile)
	comments, files := typeComments(t)
	families := familyModels(t)
	kinds := slices.Sorted(maps.Keys(families))
	cases := methodCases(t)
	var table, text bytes.Buffer
	var kernels string
	for _, r := range peft.Methods {
		var merges, banks, quantised trait
		var names []string
		var first methodCase // by name, as the matrix has it
		for _, name := range slices.Sorted(maps.Keys(cases)) {
			c := cases[name]
			if c.Config["peft_type"] != r.Type {
				continue
			}
			if len(names) == 0 {
				first = c
			}
			names = append(names, name)
			_, _, a := c.build(t, nil)
			if _, ok := a.Method.(peft.Merger); !ok && c.Refuses["merge"] == "" {
				t.Errorf("%s: the method is not a Merger, but the case refuses no merge", name)
			}
			if a.Segmentable() == (c.Refuses["segments"] != "") {
				t.Errorf("%s: Segmentable is %v, which the case denies", name, a.Segmentable())
			}
			merges.add(c.Refuses["merge"] == "", c)
			banks.add(c.Refuses["segments"] == "", c)
			quantised.add(c.quantisable(t), c)
		}
		declined := map[string][]string{} // families by reason
		for _, kind := range kinds {
			if _, why := first.attachAny(t, families[kind]); why != "" {
				declined[why] = append(declined[why], kind)
			}
		}
		var out []string
		for _, kinds := range declined {
			out = append(out, kinds...)
		}
		slices.Sort(out)
		parameters, memory, seconds, options := "not measured", [2]string{"–", "–"}, [2]string{"–", "–"}, "not measured"
		for _, m := range measured.Methods {
			i := slices.Index([]string{"fp32", "bf16"}, m.Base)
			if m.Method != r.Type || i < 0 {
				continue
			}
			if m.Error != "" {
				parameters, options = "–", "does not train the measured shape: "+m.Error
				continue
			}
			if kernels != "" && kernels != setting(m.Kernels, m.Threads) {
				t.Errorf("%s: measured with %s and with %s", measuredFile, kernels, setting(m.Kernels, m.Threads))
			}
			parameters, kernels = fmt.Sprint(m.Trainable), setting(m.Kernels, m.Threads)
			memory[i], seconds[i] = fmt.Sprint(m.Peak>>20), fmt.Sprintf("%.2f", float64(measured.Batch*measured.Seq)/m.Speed)
			options = "measured with " + fields(m.Options)
			if len(m.Options) == 0 {
				options = "measured with HF PEFT's defaults"
			}
		}
		fmt.Fprintf(&table, "| [%s](#%s) | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Type, strings.ToLower(r.Type), parameters,
			memory[0], memory[1], seconds[0], seconds[1],
			merges, banks, quantised, strings.Join(out, ", "))
		name := reflect.TypeOf(r.New()).Elem().Name()
		if comments[name] == "" {
			t.Errorf("%s: the type %s has no doc comment", r.Type, name)
		}
		fmt.Fprintf(&text, "\n## %s\n\n%s\n\n", r.Type, paragraph(r.Type, comments[name]))
		fmt.Fprintf(&text, "- fields and their defaults: %s\n- %s; in `peft/%s`; its cases are `%s`\n", configFields(t, r), options,
			files[name], strings.Join(names, "`, `"))
		for _, p := range []struct {
			no, part string
			trait
		}{{"cannot be merged", "cannot be merged with", merges}, {"one adapter a step", "one adapter a step with", banks},
			{"no quantised base", "no quantised base with", quantised}} {
			switch p.String() {
			case "no":
				fmt.Fprintf(&text, "- %s\n", p.no)
			case "in part":
				fmt.Fprintf(&text, "- %s %s\n", p.part, strings.Join(slices.Compact(p.refused), "; or "))
			}
		}
		for _, why := range slices.Sorted(maps.Keys(declined)) {
			fmt.Fprintf(&text, "- not for %s: %s\n", strings.Join(declined[why], ", "), reason(why))
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, methodsHead, measured.Config, measured.Batch, measured.Seq, measured.Rank, kernels, len(peft.Methods), len(kinds),
		strings.Join(kinds, ", "))
	b.Write(table.Bytes())
	b.Write(text.Bytes())
	return b.Bytes()
}

const methodsHead = `# Methods

Made by ` + "`go generate ./peft`" + ` of the table of methods, their tests' cases and the measured file ` + "`docs/methods.json`" + `; do not edit it.
A recipe names a method and its fields, with HF PEFT's names: ` + "`method: {peft_type: LORA, r: 16, target_modules: all-linear}`" + `.

Measured on %s (135 million parameters, random weights), %d × %d tokens a step, rank %d where the method has one and all linear layers where it adapts those,
%s; parameters are those that are trained, memory is the high-water mark of the whole process:

    adaptflow bench methods --config docs/smol135.json --dtype fp32,bf16 --batch 1 --warmup 1 --steps 3 --update docs/methods.json

*Merges*: the adapter can be folded into the base's weights. *Banks*: one step may hold tokens of several adapters (mixed batches, keys trained together, the base alone
beside them). *4-bit base*: trains over projections in NF4. Where it says "in part", the section below has the fields
with which it does not. *Not for*: the families, of those in ` + "`model/testdata`" + `, that the method declines or has no default targets for. %d methods, %d families: %s.
A section's cases are the files in ` + "`peft/testdata/methods`" + ` that its tests run for.

| method | parameters | MiB, fp32 | MiB, bf16 | s a step, fp32 | s a step, bf16 | merges | banks | 4-bit base | not for |
|---|--:|--:|--:|--:|--:|---|---|---|---|
`

func setting(kernels string, threads int) string {
	return fmt.Sprintf("kernel set %s, %d threads", kernels, threads)
}

// paragraph is a type's doc comment as Markdown, under the method's name.
func paragraph(method, comment string) string {
	_, rest, _ := strings.Cut(strings.TrimSpace(comment), " ")
	rest = regexp.MustCompile(`\[((?:nn\.)?[A-Z][A-Za-z.]{2,})\]`).ReplaceAllString(rest, "`$1`")
	return "`" + method + "` " + strings.ReplaceAll(rest, "\n\t", "\n    ")
}

// reason is an error as a clause.
func reason(why string) string {
	return strings.TrimPrefix(strings.ReplaceAll(why, "\n", " "), "peft: ")
}

// fields writes a configuration in the order of its names.
func fields(config map[string]any) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(config)) {
		v, _ := json.Marshal(config[k])
		out = append(out, "`"+k+": "+string(v)+"`")
	}
	return strings.Join(out, ", ")
}

// configFields lists the fields of a method's configuration with their defaults, without those that every configuration has.
func configFields(t *testing.T, r peft.Row) string {
	t.Helper()
	raw, err := json.Marshal(r.New().Config())
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	common, _ := json.Marshal(peft.Common{})
	var skip map[string]any
	if err := json.Unmarshal(common, &skip); err != nil {
		t.Fatal(err)
	}
	for k := range skip {
		delete(all, k)
	}
	return fields(all)
}

// typeComments are the doc comments of the package's types, and the files in which they stand.
func typeComments(t *testing.T) (comments, files map[string]string) {
	t.Helper()
	comments, files = map[string]string{}, map[string]string{}
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
				for _, s := range g.Specs {
					name := s.(*ast.TypeSpec).Name.Name
					comments[name], files[name] = g.Doc.Text(), path
				}
			}
		}
	}
	return comments, files
}

// familyModels opens a model of each family that model/testdata has, by model_type.
func familyModels(t *testing.T) map[string]*model.Model {
	t.Helper()
	out := map[string]*model.Model{}
	root := filepath.Join("..", "model", "testdata", "models")
	for _, dir := range golden.Dirs(t, root) {
		m, err := model.Load(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := out[m.Config.ModelType]; ok {
			m.Close()
			continue
		}
		t.Cleanup(func() { m.Close() })
		out[m.Config.ModelType] = m
	}
	return out
}

// quantisable says whether the case's method takes a base whose projections are in NF4.
func (c methodCase) quantisable(t *testing.T) bool {
	t.Helper()
	m, err := model.LoadAs(filepath.Join("..", "model", "testdata", "models", c.Base), "float32+nf4_dq")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, err = peft.New(c.Config["peft_type"].(string), c.Config, nn.Sites(m),
		peft.Env{ModelType: m.Config.ModelType, BaseModel: "base", Seed: 3})
	if err != nil && !strings.Contains(err.Error(), "quantised") {
		t.Error(err)
	}
	return err == nil
}
