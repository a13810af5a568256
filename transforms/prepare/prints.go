package prepare

import (
	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

// prints writes what identifies the documents, which tokenizing left by groups, into one file.
func (d *driver) prints() error {
	if d.cfg.PrintsPath == "" {
		return nil
	}
	var sources []datasets.SourcePrints
	groups := map[string][]string{}
	for _, g := range d.groups {
		if _, ok := groups[g.Source]; !ok {
			sources = append(sources, datasets.SourcePrints{Source: g.Source})
		}
		groups[g.Source] = append(groups[g.Source], tokenize.PrintsPath(d.tokens, g.Name))
	}
	of := func(i int, held bool) (out []datasets.Print, err error) {
		for _, path := range groups[sources[i].Source] {
			raw, err := storage.ReadFile(path)
			if err != nil {
				return nil, err
			}
			err = tokenize.EachPrint(path, raw, func(p datasets.Print, split uint64) {
				if d.plan.Split.Validation(split) == held {
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
	return datasets.WritePrints(d.cfg.PrintsPath, sources, of)
}
