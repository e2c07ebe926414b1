package email

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// keyPair is a private key as PEM, and the TXT record of its public key.
func keyPair(t testing.TB, kind string) (pemKey []byte, record string) {
	t.Helper()
	var key crypto.Signer
	var err error
	var public []byte
	switch kind {
	case "ed25519":
		_, k, e := ed25519.GenerateKey(rand.Reader)
		key, err, public = k, e, k.Public().(ed25519.PublicKey)
	case "rsa":
		k, e := rsa.GenerateKey(rand.Reader, 2048)
		key, err = k, e
		public, _ = x509.MarshalPKIXPublicKey(&k.PublicKey)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "v=DKIM1; k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(public)
}

// verify checks a mail with somebody else's implementation.
func verify(t testing.TB, mail []byte, record string) error {
	t.Helper()
	vs, err := dkim.VerifyWithOptions(bytes.NewReader(mail), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if name != "yz2026._domainkey.example.com" {
			return nil, fmt.Errorf("asked for %s", name)
		}
		return []string{record}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(vs) != 1 {
		t.Fatalf("%d signatures, want 1", len(vs))
	}
	return vs[0].Err
}

func signing(t testing.TB, kind string) (s *settings, record string) {
	t.Helper()
	key, record := keyPair(t, kind)
	env := channels.Env{Dir: t.TempDir()}
	write(t, env.Dir, "dkim.pem", key)
	write(t, env.Dir, "links", []byte(linkSecret))
	s = sender(t)
	var err error
	if s.dkim, err = (&DKIM{Domain: "example.com", Selector: "yz2026", KeyFile: "dkim.pem"}).open(env, s.from); err != nil {
		t.Fatal(err)
	}
	if s.unsub, err = (&Unsubscribe{URL: "https://notify.example.com/v1/unsubscribe/{token}", Mailto: "unsubscribe@example.com", SecretFile: "links"}).open(env); err != nil {
		t.Fatal(err)
	}
	return s, record
}

// A receiver that checks the signature finds it good, whatever the mail holds, and sees every change of what
// the reader sees or a program acts on.
func TestDKIM(t *testing.T) {
	for _, kind := range []string{"rsa", "ed25519"} {
		s, record := signing(t, kind)
		for name, change := range map[string]func(*schemas.Delivery){
			"notification": func(*schemas.Delivery) {},
			"marketing":    func(d *schemas.Delivery) { d.Category = schemas.Marketing },
			"text":         func(d *schemas.Delivery) { d.Message.HTML = "" },
			"long subject": func(d *schemas.Delivery) { d.Message.Subject = strings.Repeat("冬季新款上架 winter ", 12) },
			"blanks":       func(d *schemas.Delivery) { d.Message.Text = "a  b \t\n\n.dot\n\n\n\n" },
		} {
			d := channeltest.Delivery(1)
			change(d)
			m, err := s.compose(d, nil, noon)
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(t, m.raw, record); err != nil {
				t.Errorf("%s, %s: %v\n%s", kind, name, err, m.raw)
			}
			for _, header := range signed {
				changed := bytes.Replace(m.raw, []byte("\r\n"+header+": "), []byte("\r\n"+header+": x"), 1)
				if bytes.Equal(changed, m.raw) { // signed as absent
					changed = bytes.Replace(m.raw, []byte("\r\nFrom: "), []byte("\r\n"+header+": x\r\nFrom: "), 1)
				}
				if verify(t, changed, record) == nil {
					t.Errorf("%s, %s: another %s is not noticed", kind, name, header)
				}
			}
			if verify(t, bytes.Replace(m.raw, []byte("\r\n\r\n"), []byte("\r\n\r\nx"), 1), record) == nil {
				t.Errorf("%s, %s: another body is not noticed", kind, name)
			}
		}
	}
}

// One signer serves all connections.
func TestDKIMAtTheSameTime(t *testing.T) {
	s, record := signing(t, "ed25519")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if m, err := s.compose(channeltest.Delivery(i), nil, noon); err != nil || verify(t, m.raw, record) != nil {
				t.Errorf("mail %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestDKIMSettings(t *testing.T) {
	dir := t.TempDir()
	rsaKey, _ := keyPair(t, "rsa")
	write(t, dir, "rsa.pem", rsaKey)
	ecKey, _ := keyPair(t, "ecdsa")
	write(t, dir, "ec.pem", ecKey)
	write(t, dir, "not.pem", []byte("hello"))
	write(t, dir, "public.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}))
	from, _ := parseAddress("erp@mail.example.com.cn")
	for _, tt := range []struct {
		DKIM
		want string
	}{
		{DKIM{"example.com.cn", "yz2026", "rsa.pem"}, ""},
		{DKIM{"Mail.Example.com.cn", "a.b-c", "rsa.pem"}, ""},
		{DKIM{"news.example.com.cn", "a", "rsa.pem"}, ""},
		{DKIM{"com.cn", "a", "rsa.pem"}, "/dkim/domain: must belong"},
		{DKIM{"other.com.cn", "a", "rsa.pem"}, "/dkim/domain: must belong"},
		{DKIM{"", "a", "rsa.pem"}, "/dkim/domain: want a domain"},
		{DKIM{"example.com.cn", "", "rsa.pem"}, "/dkim/selector: "},
		{DKIM{"example.com.cn", "a b", "rsa.pem"}, "/dkim/selector: "},
		{DKIM{"example.com.cn", "a", "absent.pem"}, "/dkim/key_file: "},
		{DKIM{"example.com.cn", "a", ""}, "/dkim/key_file: "},
		{DKIM{"example.com.cn", "a", "not.pem"}, "/dkim/key_file: no RSA"},
		{DKIM{"example.com.cn", "a", "public.pem"}, "/dkim/key_file: no RSA"},
		{DKIM{"example.com.cn", "a", "ec.pem"}, "/dkim/key_file: no RSA"},
	} {
		_, err := tt.open(channels.Env{Dir: dir}, from)
		if got := fmt.Sprint(err); tt.want == "" && err != nil || !strings.HasPrefix(got, tt.want) && tt.want != "" {
			t.Errorf("%+v: %v, want %q", tt.DKIM, err, tt.want)
		}
	}
}
