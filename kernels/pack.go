package kernels

// panelCols is the width of a panel: three 512-bit vectors, and a multiple of every tile's width.
const panelCols = 48

// Panels is a frozen matrix B [K, N] packed for MatMul: ⌈N/48⌉ panels, panel j holding the columns [48j, 48j+48) as K rows of
// 48 values, the last panel padded with zeros. Data has PanelsLen(K, N) values; its layout does not depend on the kernel set.
type Panels struct {
	K, N int
	Data []float32
}

// PanelsLen is the number of values of a [k, n] matrix packed as panels, padding included.
func PanelsLen(k, n int) int { return k * panelCols * panels(n) }

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

// Unpack writes B[k,n] to dst[k*rs+n*cs]: the inverse of PackPanels.
func (p Panels) Unpack(dst []float32, rs, cs int) {
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
