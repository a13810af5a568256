package prepare

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/stage"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

func init() {
	beam.RegisterDoFn(&printsFn{})
	beam.RegisterFunction(sameText)
}

func sameText(s string) string { return s }

// allPrints is the file of prints as a worker leaves it; prints are brought from there.
func (d *driver) allPrints() string { return storage.Join(d.packed, "all.prints") }

// gatherPrints adds to a job the work of writing what identifies the documents, where it is wanted.
func (d *driver) gatherPrints(s beam.Scope) {
	if d.cfg.PrintsPath != "" {
		summaries := stage.Together(s, stage.Kept(s, d.list(tokenize.Name), sameText))
		end.Of(s, beam.ParDo(s, &printsFn{Dir: d.tokens, Path: d.allPrints(), Split: d.plan.Split}, summaries))
	}
}

// prints brings the file.
func (d *driver) prints() error {
	if d.cfg.PrintsPath == "" {
		return nil
	}
	return storage.CopyFile(d.cfg.PrintsPath, d.allPrints())
}

// printsFn writes what identifies the documents, which tokenizing left by groups, into one file.
type printsFn struct {
	Dir   string // of the groups' prints
	Path  string
	Split datasets.Split
}

// ProcessElement reads the prints of the groups, whose summaries these are, and emits the path of the file.
func (f *printsFn) ProcessElement(_ int, summaries func(*string) bool, emit func(string)) error {
	var all []tokenize.Summary
	for text := ""; summaries(&text); {
		var one tokenize.Summary
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			return err
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b tokenize.Summary) int { return cmp.Compare(a.Group.Order, b.Group.Order) })
	var sources []datasets.SourcePrints
	groups := map[string][]string{}
	for i := range all {
		g := &all[i].Group
		if _, ok := groups[g.Source]; !ok {
			sources = append(sources, datasets.SourcePrints{Source: g.Source})
		}
		groups[g.Source] = append(groups[g.Source], tokenize.PrintsPath(f.Dir, g.Name))
	}
	of := func(i int, held bool) (out []datasets.Print, err error) {
		for _, path := range groups[sources[i].Source] {
			raw, err := storage.ReadFile(path)
			if err != nil {
				return nil, err
			}
			err = tokenize.EachPrint(path, raw, func(p datasets.Print, split uint64) {
				if f.Split.Validation(split) == held {
					out = append(out, p)
				}
			})
			if err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	for i := range sources {
		for _, held := range []bool{false, true} {
			ps, err := of(i, held)
			if err != nil {
				return err
			}
			if held {
				sources[i].Validation = len(ps)
			} else {
				sources[i].Train = len(ps)
			}
		}
	}
	if err := datasets.WritePrints(f.Path, sources, of); err != nil {
		return err
	}
	emit(f.Path)
	return nil
}
