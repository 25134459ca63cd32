package httpd

import (
	"context"
	"testing"
)

func nop(context.Context, Request) (Response, error) { return Response{}, nil }

func testTable() []Route {
	return []Route{
		{Name: "status", Method: "GET", Path: "/eth/v1/builder/status", Serve: nop},
		{Name: "header", Method: "GET", Path: "/eth/v1/builder/header/{slot}/{parent_hash}/{pubkey}", Serve: nop},
		{Name: "register", Method: "POST", Path: "/eth/v1/builder/validators", MaxBody: 1, Serve: nop},
		{Name: "list", Method: "GET", Path: "/eth/v1/builder/validators", Serve: nop},
		{Name: "keys", Method: "GET", Path: "/keys/{key}/root", Serve: nop},
		{Name: "own", Method: "GET", Path: "/keys/own/name", Serve: nop},
		{Name: "root", Method: "GET", Path: "/", Serve: nop},
	}
}

func TestRouter(t *testing.T) {
	root, err := buildRouter(testTable())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, want string // want: the name, "405" or "404"
		params             []string
	}{
		{"GET", "/eth/v1/builder/status", "status", nil},
		{"POST", "/eth/v1/builder/status", "405", nil},
		{"HEAD", "/eth/v1/builder/status", "405", nil},
		{"get", "/eth/v1/builder/status", "405", nil},
		{"GET", "/eth/v1/builder/status/", "404", nil},
		{"GET", "/eth/v1/builder//status", "404", nil},
		{"GET", "/eth/v1/./builder/status", "404", nil},
		{"GET", "/eth/v1/x/../builder/status", "404", nil},
		{"GET", "/eth/v1/builder", "404", nil},
		{"GET", "/eth/v1/builder/st%61tus", "status", nil},
		{"GET", "/eth/v1/builder%2Fstatus", "404", nil},
		{"GET", "/eth/v1/builder/statu%", "404", nil},
		{"GET", "/eth/v1/builder/header/1/0xab/0xcd", "header", []string{"1", "0xab", "0xcd"}},
		{"GET", "/eth/v1/builder/header/1/0xab/%30xcd", "header", []string{"1", "0xab", "0xcd"}},
		{"GET", "/eth/v1/builder/header/1/a%2Fb/c", "header", []string{"1", "a/b", "c"}},
		{"GET", "/eth/v1/builder/header/1/0xab", "404", nil},
		{"GET", "/eth/v1/builder/header/1//0xcd", "404", nil},
		{"GET", "/eth/v1/builder/header/1/0xab/0xcd/", "404", nil},
		{"POST", "/eth/v1/builder/validators", "register", nil},
		{"GET", "/eth/v1/builder/validators", "list", nil},
		{"GET", "/keys/own/root", "keys", []string{"own"}}, // back from the literal branch
		{"GET", "/keys/own/name", "own", nil},
		{"GET", "/keys/other/name", "404", nil},
		{"GET", "/", "root", nil},
		{"GET", "", "404", nil},
		{"GET", "*", "404", nil},
		{"GET", "http://host/keys/a/root?x=1", "keys", []string{"a"}},
		{"GET", "http://host?/keys/a/root", "404", nil},
		{"GET", "http://host", "404", nil},
	} {
		var ps params
		path, _ := target([]byte(c.path))
		end := root.find(path, &ps)
		got := "404"
		if end != nil {
			got = "405"
			if e := end.methods[c.method]; e != nil {
				got = e.Name
				for i := range e.params {
					if i >= len(c.params) || string(ps[i]) != c.params[i] {
						t.Errorf("%s %s: parameter %s = %q, want %v", c.method, c.path, e.params[i], ps[i], c.params)
					}
				}
			}
		}
		if got != c.want {
			t.Errorf("%s %s = %s, want %s", c.method, c.path, got, c.want)
		}
	}
}

func TestRouter_Allocations(t *testing.T) {
	root, err := buildRouter(testTable())
	if err != nil {
		t.Fatal(err)
	}
	path := []byte("/eth/v1/builder/header/1/0xab/0xcd")
	if n := testing.AllocsPerRun(100, func() {
		var ps params
		if root.find(path, &ps) == nil {
			t.Fatal("not found")
		}
	}); n > 1 { // the parameters, which live in the exchange
		t.Errorf("find allocates %v times", n)
	}
}

func TestRouter_BadTables(t *testing.T) {
	good := Route{Name: "a", Method: "GET", Path: "/a/{b}", Serve: nop}
	for name, edit := range map[string]func(*Route){
		"no name":         func(r *Route) { r.Name = "" },
		"no method":       func(r *Route) { r.Method = "" },
		"no handler":      func(r *Route) { r.Serve = nil },
		"lower case":      func(r *Route) { r.Method = "get" },
		"relative":        func(r *Route) { r.Path = "a" },
		"empty parameter": func(r *Route) { r.Path = "/{}" },
		"open parameter":  func(r *Route) { r.Path = "/{a" },
		"half parameter":  func(r *Route) { r.Path = "/x{a}" },
		"same parameter":  func(r *Route) { r.Path = "/{a}/{a}" },
		"seven":           func(r *Route) { r.Path = "/{a}/{b}/{c}/{d}/{e}/{f}/{g}" },
		"twice":           func(r *Route) { r.Path = "/a/{c}" },
		"negative":        func(r *Route) { r.MaxBody = -1 },
	} {
		bad := good
		edit(&bad)
		if _, err := buildRouter([]Route{good, bad}); err == nil {
			t.Errorf("%s: table was taken", name)
		}
	}
}

func FuzzRouter(f *testing.F) {
	for _, s := range []string{"/", "/keys/own/root", "/keys/%6fwn/name", "//", "/%", "http://a/b?c", "/eth/v1/builder/header/1/2/3"} {
		f.Add(s)
	}
	root, err := buildRouter(testTable())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var ps params
		path, _ := target([]byte(s))
		end := root.find(path, &ps)
		if end == nil {
			return
		}
		for _, e := range end.methods {
			for i := range e.params {
				if len(ps[i]) == 0 {
					t.Fatalf("%q: parameter %s is empty", s, e.params[i])
				}
			}
		}
	})
}
