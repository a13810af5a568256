package tokenize

// Recorded is what a tokenizer.json says about cutting and filling up. The engine does neither; a caller that wants HF's behaviour reads it
// here.
type Recorded struct {
	Truncation *Truncation
	Padding    *Padding
}

// Truncation is tokenizer.json's `truncation`.
type Truncation struct {
	Direction string // "Right" or "Left"
	MaxLength int
	Strategy  string // LongestFirst, OnlyFirst, OnlySecond
	Stride    int
}

// Padding is tokenizer.json's `padding`.
type Padding struct {
	Direction string // "Right" or "Left"
	Fixed     int    // length to fill up to; 0: that of the longest of a batch
	Multiple  int    // pad_to_multiple_of; 0: none
	PadID     int32
	PadToken  string
}

// Recorded returns the file's truncation and padding, nil where it has none.
func (f *Fast) Recorded() Recorded { return f.recorded }

func (r *Recorded) read(top *obj) error {
	if v := top.take("truncation"); !v.null() {
		o, err := v.object()
		if err != nil {
			return err
		}
		r.Truncation = &Truncation{Direction: o.strOr("direction", "Right"), MaxLength: o.integer("max_length"),
			Strategy: o.str("strategy")}
		o.get("stride", false, &r.Truncation.Stride)
		if err := o.done(); err != nil {
			return err
		}
	}
	v := top.take("padding")
	if v.null() {
		return nil
	}
	o, err := v.object()
	if err != nil {
		return err
	}
	p := &Padding{Direction: o.strOr("direction", "Right"), PadToken: o.strOr("pad_token", "")}
	o.get("pad_id", false, &p.PadID)
	o.get("pad_to_multiple_of", false, &p.Multiple)
	var typeID int
	o.get("pad_type_id", false, &typeID)
	if s := o.take("strategy"); !s.null() && string(s.raw) != `"BatchLongest"` {
		so, err := s.object()
		if err != nil {
			return err
		}
		p.Fixed = so.integer("Fixed")
		if err := so.done(); err != nil {
			return err
		}
	}
	r.Padding = p
	return o.done()
}
