package redfish

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// signed returns a certificate for a host, signed by an authority or, without
// one, by itself.
func signed(t *testing.T, host string, until time.Time, by *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		DNSNames: []string{host}, IsCA: by == nil, BasicConstraintsValid: true,
	}
	if by == nil {
		by, key = template, own
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, own.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, own
}

func TestVerify(t *testing.T) {
	later, earlier := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	authority, key := signed(t, "authority", later, nil, nil)
	good, _ := signed(t, "bmc", later, authority, key)
	expired, _ := signed(t, "bmc", earlier, authority, key)
	own, _ := signed(t, "idrac-1234", earlier, nil, nil)
	other, _ := signed(t, "idrac-1234", later, nil, nil)
	for name, tt := range map[string]struct {
		shown *x509.Certificate
		host  string
		known []*x509.Certificate
		want  any // a kind of error, nil if it is accepted
	}{
		"signed by the authority":        {good, "bmc", []*x509.Certificate{authority}, nil},
		"among others":                   {good, "bmc", []*x509.Certificate{other, authority}, nil},
		"for another host":               {good, "bmc2", []*x509.Certificate{authority}, new(x509.HostnameError)},
		"expired":                        {expired, "bmc", []*x509.Certificate{authority}, new(x509.CertificateInvalidError)},
		"of another authority":           {good, "bmc", []*x509.Certificate{other}, new(x509.UnknownAuthorityError)},
		"its own, of any name and date":  {own, "192.0.2.7", []*x509.Certificate{other, own}, nil},
		"its own, that is not known":     {own, "idrac-1234", []*x509.Certificate{authority}, new(x509.CertificateInvalidError)},
		"another one of the same name":   {other, "idrac-1234", []*x509.Certificate{own}, new(x509.UnknownAuthorityError)},
		"for no host, by the authority ": {good, "192.0.2.7", []*x509.Certificate{authority}, new(x509.HostnameError)},
	} {
		t.Run(name, func(t *testing.T) {
			var text []byte
			for _, c := range tt.known {
				text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
			}
			file := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			err := verify([]*x509.Certificate{tt.shown}, tt.host, file)
			if tt.want == nil && err != nil || tt.want != nil && (err == nil || !errors.As(err, tt.want)) {
				t.Errorf("%v, want %T", err, tt.want)
			}
		})
	}
	if err := verify(nil, "bmc", ""); err == nil {
		t.Error("no certificate at all is accepted")
	}
}

func TestSameUUID(t *testing.T) {
	const uuid = "38947555-7742-3448-3784-823347823834"
	for other, want := range map[string]bool{
		uuid: true, "55759438-4277-4834-3784-823347823834": true,
		"38947555-7742-3448-3784-823347823835": false, "": false, "38947555774234483784823347823834": false,
	} {
		if sameUUID(uuid, other) != want || sameUUID(other, uuid) != want {
			t.Errorf("%q: want %v", other, want)
		}
	}
	for _, none := range []string{"", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"} {
		if sameUUID(none, none) {
			t.Errorf("%q is of every machine", none)
		}
	}
}
