package datasets

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// RowClassification is the kind of rows of a text and its class. It is never guessed from the fields: shards of it train a classifier.
const RowClassification = "classification"

// KindClassification is the kind of shards of documents that have a class: the label of a document's last token, all other labels NoLoss.
const KindClassification = "classification"

// classRow reads a row of a text and a class; what says what is wrong with it. A class is a string, a number or a boolean, and named as it
// is written.
func (o *Options) classRow(obj map[string]json.RawMessage, used map[string]bool) (rec Record, reason, what string) {
	used[o.TextColumn], used[o.LabelColumn] = true, true
	text, why := jsonString(obj[o.TextColumn])
	if why == "" && text == "" {
		why = ReasonEmptyText
	}
	if why != "" {
		return rec, ReasonWrongRow, fmt.Sprintf("%s: %s", o.TextColumn, why)
	}
	name, raw := o.LabelColumn, obj[o.LabelColumn]
	label, why := jsonString(raw)
	switch {
	case len(raw) == 0 || string(raw) == "null" || why == "" && label == "":
		return rec, ReasonWrongRow, name + ": no class"
	case why == ReasonTextNotAString && (raw[0] == '{' || raw[0] == '['):
		return rec, ReasonWrongRow, name + ": a class is one value"
	case why == ReasonTextNotAString:
		label = string(raw)
	case why != "":
		return rec, ReasonWrongRow, name + ": " + why
	}
	if o.Labels != nil && !slices.Contains(o.Labels, label) {
		return rec, ReasonUnknownLabel, label
	}
	return Record{Text: text, Label: label, Row: string(encode(Row{Kind: RowClassification, Prompt: encode(text), Label: label}))}, "", ""
}

// SortLabels puts the names of classes in their order, which numbers them: as numbers where all are integers, else as text.
func SortLabels(names []string) {
	number := map[string]int64{}
	for _, n := range names {
		v, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			slices.Sort(names)
			return
		}
		number[n] = v
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(number[a], number[b]), cmp.Compare(a, b)) })
}
