package kernels

import "math"

// panelCols is the width of a panel: three 512-bit vectors, and a multiple of every tile's width.
const panelCols = 48

// Panels is a frozen matrix B [K, N] packed for MatMul: ⌈N/48⌉ panels, panel j holding the columns [48j, 48j+48) as K rows of
// 48 values, the last panel padded with zeros. Data has PanelsLen(K, N) values; its layout does not depend on the kernel set.
//
// A bfloat16 matrix has Half in place of Data: ⌈K/2⌉ rows of 48 pairs a panel, a pair being two values of a column one after the
// other, an odd K padded with zeros. Half has HalfLen(K, N) values.
type Panels struct {
	K, N int
	Data []float32
	Half []uint16
}

// PanelsLen is the number of values of a [k, n] matrix packed as panels, padding included.
func PanelsLen(k, n int) int { return k * panelCols * panels(n) }

// HalfLen is the number of values of a [k, n] matrix packed as bfloat16 panels, padding included.
func HalfLen(k, n int) int { return halfRows(k) * 2 * panelCols * panels(n) }

// halfRows is the number of rows of pairs of a panel.
func halfRows(k int) int { return (k + 1) / 2 }

// Columns returns the columns [lo, hi); lo is a multiple of 48.
func (p Panels) Columns(lo, hi int) Panels {
	if lo%panelCols != 0 || lo < 0 || hi < lo || hi > p.N {
		panic("kernels: columns outside the panels, or not from the beginning of one")
	}
	c := Panels{K: p.K, N: hi - lo}
	at := lo / panelCols
	if p.Half != nil {
		c.Half = p.Half[HalfLen(p.K, 1)*at:][:HalfLen(p.K, hi-lo)]
	} else {
		c.Data = p.Data[PanelsLen(p.K, 1)*at:][:PanelsLen(p.K, hi-lo)]
	}
	return c
}

func panels(n int) int { return (n + panelCols - 1) / panelCols }

// PackPanels packs B with B[k,n] = b[k*rs+n*cs] into dst, which has at least PanelsLen(k, n) values. A Hugging Face weight W
// [out, in], used as x·Wᵀ, is k = in, n = out, rs = 1, cs = in.
func PackPanels(dst []float32, k, n int, b []float32, rs, cs int) Panels {
	p := Panels{K: k, N: n, Data: dst[:PanelsLen(k, n)]}
	if k == 0 {
		return p
	}
	for j := 0; j < n; j += panelCols {
		packPanel(p.Data[j*k:], k, min(panelCols, n-j), b[j*cs:], rs, cs)
	}
	return p
}

// PackHalf packs B as PackPanels does, rounded to bfloat16, into dst of at least HalfLen(k, n) values.
func PackHalf(dst []uint16, k, n int, b []float32, rs, cs int) Panels {
	p := Panels{K: k, N: n, Half: dst[:HalfLen(k, n)]}
	if k == 0 {
		return p
	}
	s := getScratch()
	defer putScratch(s)
	for j := 0; j < n; j += panelCols {
		w := min(panelCols, n-j)
		for k0 := 0; k0 < k; k0 += chunk {
			rows := min(chunk, k-k0)
			packPanel(s.b[:], rows, w, b[j*cs+k0*rs:], rs, cs)
			roundBF16Row(s.b[:rows*panelCols])
			clear(s.b[rows*panelCols:][:panelCols]) // the second of the last pair where k is odd
			dst := p.Half[(j/panelCols*halfRows(k)+k0/2)*2*panelCols:]
			for r := 0; r < rows; r += 2 {
				even, odd := s.b[r*panelCols:][:panelCols], s.b[(r+1)*panelCols:][:panelCols]
				for q := range panelCols {
					dst[r*panelCols+2*q] = uint16(math.Float32bits(even[q]) >> 16)
					dst[r*panelCols+2*q+1] = uint16(math.Float32bits(odd[q]) >> 16)
				}
			}
		}
	}
	return p
}

// Unpack writes B[k,n] to dst[k*rs+n*cs]: the inverse of PackPanels and of PackHalf.
func (p Panels) Unpack(dst []float32, rs, cs int) {
	if p.Half != nil {
		for n := range p.N {
			at := n / panelCols * halfRows(p.K)
			for k := range p.K {
				dst[k*rs+n*cs] = widen(p.Half[((at+k/2)*panelCols+n%panelCols)*2+k&1])
			}
		}
		return
	}
	for j := 0; j < p.N; j += panelCols {
		for k := range p.K {
			for q, v := range p.Data[j*p.K+k*panelCols:][:min(panelCols, p.N-j)] {
				dst[k*rs+(j+q)*cs] = v
			}
		}
	}
}

// Column writes column n of B to dst[:K]: for a packed embedding table, the embedding of token n.
func (p Panels) Column(dst []float32, n int) {
	if n < 0 || n >= p.N {
		panic("kernels: column outside the panels")
	}
	if p.K == 0 {
		return
	}
	if p.Half != nil {
		src := p.Half[(n/panelCols*halfRows(p.K)*panelCols+n%panelCols)*2:]
		for k := range dst[:p.K] {
			dst[k] = widen(src[k/2*2*panelCols+k&1])
		}
		return
	}
	src := p.Data[n/panelCols*panelCols*p.K+n%panelCols:]
	for k := range dst[:p.K] {
		dst[k] = src[k*panelCols]
	}
}

// packPanel writes one panel: k rows of 48 values, of which the first w come from b[k*rs+n*cs] and the rest are zero.
func packPanel(dst []float32, k, w int, b []float32, rs, cs int) {
	if w < panelCols {
		clear(dst[:k*panelCols])
	}
	packColumns(dst, k, w, b, rs, cs)
}

// packTile is packPanel for the tiles alone, which read as many columns as [wide] says: the others hold anything.
func packTile(dst []float32, k, w int, b []float32, rs, cs int) {
	if n := wide(w); n > w {
		for i := range k {
			clear(dst[i*panelCols+w : i*panelCols+n])
		}
	}
	packColumns(dst, k, w, b, rs, cs)
}

// packColumns writes the first w columns of a panel.
func packColumns(dst []float32, k, w int, b []float32, rs, cs int) {
	switch {
	case cs == 1:
		for i := range k {
			copy(dst[i*panelCols:], b[i*rs:][:w])
		}
	case rs == 1:
		w8, k8 := w&^7, k&^7
		if !transpose(dst, b, w8, k8, cs) {
			w8, k8 = 0, 0
		}
		for n := range w {
			from := 0
			if n < w8 {
				from = k8
			}
			for i, v := range b[n*cs:][from:k] {
				dst[(from+i)*panelCols+n] = v
			}
		}
	default:
		for i := range k {
			for n := range w {
				dst[i*panelCols+n] = b[i*rs+n*cs]
			}
		}
	}
}
