// Temporary plain version so that everyone can build; the GEMM developer replaces this file.
package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

type Panels struct {
	K, N int
	Data []float32
}

func PanelsLen(k, n int) int { return k * 48 * ((n + 47) / 48) }
func PackPanels(dst []float32, k, n int, b []float32, rs, cs int) Panels {
	for j := 0; j < n; j++ {
		for i := 0; i < k; i++ {
			dst[j/48*48*k+i*48+j%48] = b[i*rs+j*cs]
		}
	}
	return Panels{k, n, dst}
}
func (p Panels) at(k, n int) float32 { return p.Data[n/48*48*p.K+k*48+n%48] }
func (p Panels) Column(dst []float32, n int) {
	for k := 0; k < p.K; k++ {
		dst[k] = p.at(k, n)
	}
}
func MatMul(p *pool.Pool, m int, a []float32, lda int, b Panels, beta float32, c []float32, ldc int) {
	for i := 0; i < m; i++ {
		for j := 0; j < b.N; j++ {
			s := float32(0)
			for k := 0; k < b.K; k++ {
				s += a[i*lda+k] * b.at(k, j)
			}
			if beta != 0 {
				s += c[i*ldc+j]
			}
			c[i*ldc+j] = s
		}
	}
}
func MatMulT(p *pool.Pool, m int, a []float32, lda int, b Panels, beta float32, c []float32, ldc int) {
	for i := 0; i < m; i++ {
		for k := 0; k < b.K; k++ {
			s := float32(0)
			for j := 0; j < b.N; j++ {
				s += a[i*lda+j] * b.at(k, j)
			}
			if beta != 0 {
				s += c[i*ldc+k]
			}
			c[i*ldc+k] = s
		}
	}
}
func Gemm(p *pool.Pool, m, n, k int, alpha float32, a []float32, ars, acs int, b []float32, brs, bcs int, beta float32, c []float32, ldc int) {
	for i := 0; i < m; i++ {
		for j := 0; j < n; j++ {
			s := float32(0)
			for q := 0; q < k; q++ {
				s += a[i*ars+q*acs] * b[q*brs+j*bcs]
			}
			s *= alpha
			if beta != 0 {
				s += c[i*ldc+j]
			}
			c[i*ldc+j] = s
		}
	}
}

func (p Panels) Unpack(dst []float32, rs, cs int) {
	for k := 0; k < p.K; k++ {
		for n := 0; n < p.N; n++ {
			dst[k*rs+n*cs] = p.at(k, n)
		}
	}
}
