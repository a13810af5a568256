package kernels

// PanelWidth is the number of columns of a panel: see [Panels].
const PanelWidth = panelCols

// Codes4Half expands rows rows of 48 bytes, each two 4-bit codes, into rows of 48 pairs of bfloat16 panels: the first of a pair has the
// code of the upper half. A value is lut[code]·scale of its column, rounded to bfloat16; scale [48] holds for all the rows.
func Codes4Half(dst []uint16, codes []uint8, lut *[16]float32, scale []float32, rows int) {
	_, _, _ = dst[:rows*2*panelCols], codes[:rows*panelCols], scale[panelCols-1]
	for r := range rows {
		codes4Half(dst[r*2*panelCols:], codes[r*panelCols:], lut, scale)
	}
}

// Codes4Wide expands rows rows of 48 bytes into 2·rows rows of 48 float32 values: the upper half's code first.
func Codes4Wide(dst []float32, codes []uint8, lut *[16]float32, scale []float32, rows int) {
	_, _, _ = dst[:2*rows*panelCols], codes[:rows*panelCols], scale[panelCols-1]
	for r := range rows {
		codes4Wide(dst[2*r*panelCols:], dst[(2*r+1)*panelCols:], codes[r*panelCols:], lut, scale)
	}
}

func codes4HalfPlain(dst []uint16, codes []uint8, lut *[16]float32, scale []float32) {
	for n, c := range codes[:panelCols] {
		dst[2*n] = uint16(roundBF16(lut[c>>4]*scale[n]) >> 16)
		dst[2*n+1] = uint16(roundBF16(lut[c&15]*scale[n]) >> 16)
	}
}

func codes4WidePlain(even, odd []float32, codes []uint8, lut *[16]float32, scale []float32) {
	for n, c := range codes[:panelCols] {
		even[n], odd[n] = lut[c>>4]*scale[n], lut[c&15]*scale[n]
	}
}

// WantsHalf says whether the active set multiplies bfloat16 panels faster than float32 ones.
func WantsHalf() bool { return halfTileOf(Active()) != nil || tiles() != nil }
