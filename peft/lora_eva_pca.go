package peft

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// incrementalPCA keeps the leading principal components of rows that come in batches (Ross et al. 2008), with torch's randomised
// decomposition and the random numbers that HF draws for it, so that ranks follow HF's.
type incrementalPCA struct {
	n, in      int
	seen       float64
	mean, vari []float64
	components *mat.Dense // [n, in], nil before the first batch
	singular   []float64
	ratio      []float64 // explained variance
}

// fit takes a batch x [rows, in], which it changes.
func (p *incrementalPCA) fit(x *mat.Dense) {
	rows, in := x.Dims()
	fresh := make([]float64, in) // mean of the batch
	sum, sumVar := make([]float64, in), make([]float64, in)
	for j := range in {
		for i := range rows {
			sum[j] += x.At(i, j)
		}
		fresh[j] = sum[j] / float64(rows)
		correction := 0.0
		for i := range rows {
			d := x.At(i, j) - fresh[j]
			correction += d
			sumVar[j] += float64(d * d)
		}
		sumVar[j] -= correction * correction / float64(rows)
	}
	n := float64(rows)
	total := p.seen + n
	mean, vari := make([]float64, in), make([]float64, in)
	for j := range in {
		if p.components == nil {
			mean[j], vari[j] = fresh[j], sumVar[j]/total
			continue
		}
		last := p.mean[j] * p.seen
		mean[j] = (last + sum[j]) / total
		ratio := p.seen / n
		d := last/ratio - sum[j]
		vari[j] = (p.vari[j]*p.seen + sumVar[j] + ratio/total*float64(d*d)) / total
	}
	for i := range rows {
		row := x.RawRowView(i)
		for j := range row {
			row[j] -= fresh[j]
		}
	}
	if p.components != nil {
		k, _ := p.components.Dims()
		y := mat.NewDense(k+rows+1, in, nil)
		for i := range k {
			for j := range in {
				y.Set(i, j, p.singular[i]*p.components.At(i, j))
			}
		}
		f := math.Sqrt(p.seen / total * n)
		for i := range rows {
			y.SetRow(k+i, x.RawRowView(i))
		}
		for j := range in {
			y.Set(k+rows, j, f*(p.mean[j]-fresh[j]))
		}
		x = y
	}
	// From the second batch on HF's rows are float64, because the correction of the mean is.
	d := svdLowRank(x, 2*p.n, 4, 42, p.components != nil)
	k := min(p.n, len(d.s))
	p.components, p.singular, p.ratio = mat.NewDense(k, in, nil), d.s[:k], make([]float64, k)
	all := 0.0
	for _, v := range vari {
		all += v * total
	}
	for c := range k {
		largest := 0.0
		for j := range in {
			if v := d.v.At(j, c); math.Abs(v) > math.Abs(largest) {
				largest = v
			}
		}
		for j := range in {
			p.components.Set(c, j, math.Copysign(1, largest)*d.v.At(j, c))
		}
		p.ratio[c] = d.s[c] * d.s[c] / all
	}
	p.seen, p.mean, p.vari = total, mean, vari
}
