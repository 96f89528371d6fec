package value

import "math"

// Pow is ECMAScript's Math.pow: IEEE's, but for 1 to the power of infinity or
// NaN, which is NaN. It follows fdlibm's e_pow.c, as V8 does, because Go's
// math.Pow loses up to a dozen bits: log2(x) as a sum of two doubles, times y
// split in two, and 2 to that. Its error is below one unit in the last place;
// whole powers of whole numbers are exact.
//
// The method and its constants are
//
//	Copyright (C) 2004 by Sun Microsystems, Inc. All rights reserved.
//	Permission to use, copy, modify, and distribute this software is freely
//	granted, provided that this notice is preserved.
func Pow(x, y float64) float64 {
	ax, ay := math.Abs(x), math.Abs(y)
	switch {
	case y != y, math.IsInf(y, 0) && ax == 1:
		return math.NaN()
	case x != x, x == 0, ax == 1, y == 0, y == -1, math.IsInf(x, 0), ay > 1<<31, x < 0 && y != math.Trunc(y):
		return math.Pow(x, y) // exact, or all or nothing
	case y == 1:
		return x
	case y == 2:
		return float64(x * x)
	case y == 0.5:
		return math.Sqrt(x)
	}
	sign := 1.0
	if x < 0 && math.Mod(ay, 2) == 1 {
		sign = -1
	}
	t1, t2 := log2(ax, int32(math.Float64bits(ax)>>32))
	y1 := high(y)
	pl := float64((y-y1)*t1) + float64(y*t2)
	ph := float64(y1 * t1)
	z := pl + ph
	switch {
	case z > 1024, z == 1024 && pl+8.0085662595372944372e-17 > z-ph:
		return sign * math.Inf(1)
	case z < -1075, z == -1075 && pl <= z-ph:
		return sign * 0
	}
	j := int32(math.Float64bits(z) >> 32)
	return sign * exp2(pl, ph, j&0x7fffffff, j)
}

// high returns x with the lower 32 bits of its representation cleared.
func high(x float64) float64 { return math.Float64frombits(math.Float64bits(x) &^ 0xffffffff) }

// log2 returns log2(ax) as the sum of two doubles. Ix is the high word of ax.
func log2(ax float64, ix int32) (t1, t2 float64) {
	const (
		cp  = 9.61796693925975554329e-01
		cpH = 9.61796700954437255859e-01
		cpL = -7.02846165095275826516e-09
		l1  = 5.99999999999994648725e-01
		l2  = 4.28571428578550184252e-01
		l3  = 3.33333329818377432918e-01
		l4  = 2.72728123808534006489e-01
		l5  = 2.30660745775561754067e-01
		l6  = 2.06975017800338417784e-01
	)
	n := int32(0)
	if ix < 0x00100000 { // subnormal
		ax *= 9007199254740992
		n = -53
		ix = int32(math.Float64bits(ax) >> 32)
	}
	n += ix>>20 - 0x3ff
	j := ix & 0x000fffff
	ix = j | 0x3ff00000
	bp, dpH, dpL, k := 1.0, 0.0, 0.0, int32(0)
	switch {
	case j <= 0x3988E:
	case j < 0xBB67A:
		bp, dpH, dpL, k = 1.5, 5.84962487220764160156e-01, 1.35003920212974897128e-08, 1
	default:
		n++
		ix -= 0x00100000
	}
	ax = math.Float64frombits(math.Float64bits(ax)&0xffffffff | uint64(uint32(ix))<<32)
	u := ax - bp
	v := 1 / (ax + bp)
	ss := float64(u * v)
	sH := high(ss)
	tH := math.Float64frombits(uint64(uint32((ix>>1|0x20000000)+0x00080000+k<<18)) << 32)
	tL := ax - (tH - bp)
	sL := float64(v * ((u - float64(sH*tH)) - float64(sH*tL)))
	// log(ax)
	s2 := float64(ss * ss)
	r := float64(float64(s2*s2) * (l1 + float64(s2*(l2+float64(s2*(l3+float64(s2*(l4+float64(s2*(l5+float64(s2*l6)))))))))))
	r += float64(sL * (sH + ss))
	s2 = float64(sH * sH)
	tH = high(3 + s2 + r)
	tL = r - ((tH - 3) - s2)
	u = float64(sH * tH)
	v = float64(sL*tH) + float64(tL*ss)
	pH := high(u + v)
	pL := v - (pH - u)
	zH := float64(cpH * pH)
	zL := float64(cpL*pH) + float64(pL*cp) + dpL
	t := float64(n)
	t1 = high(((zH + zL) + dpH) + t)
	t2 = zL - (((t1 - t) - dpH) - zH)
	return t1, t2
}

// exp2 returns 2^(pl+ph). J is the high word of pl+ph, i that without its sign.
func exp2(pl, ph float64, i, j int32) float64 {
	const (
		p1   = 1.66666666666666019037e-01
		p2   = -2.77777777770155933842e-03
		p3   = 6.61375632143793436117e-05
		p4   = -1.65339022054652515390e-06
		p5   = 4.13813679705723846039e-08
		lg2  = 6.93147180559945286227e-01
		lg2H = 6.93147182464599609375e-01
		lg2L = -1.90465429995776804525e-09
	)
	k := i>>20 - 0x3ff
	n := int32(0)
	if i > 0x3fe00000 { // |z| > 0.5: n = [z + 0.5]
		n = j + 0x00100000>>(k+1)
		k = n&0x7fffffff>>20 - 0x3ff
		t := math.Float64frombits(uint64(uint32(n&^(0x000fffff>>k))) << 32)
		n = (n&0x000fffff | 0x00100000) >> (20 - k)
		if j < 0 {
			n = -n
		}
		ph -= t
	}
	t := high(pl + ph)
	u := float64(t * lg2H)
	v := float64((pl-(t-ph))*lg2) + float64(t*lg2L)
	z := u + v
	w := v - (z - u)
	t = float64(z * z)
	t1 := z - float64(t*(p1+float64(t*(p2+float64(t*(p3+float64(t*(p4+float64(t*p5)))))))))
	r := float64(z*t1)/(t1-2) - (w + float64(z*w))
	z = 1 - (r - z)
	return math.Ldexp(z, int(n))
}
