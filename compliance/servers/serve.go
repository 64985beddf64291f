// See README.md.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	text, err := os.ReadFile("version")
	if err != nil {
		log.Fatal(err)
	}
	version := strings.TrimSpace(string(text))
	if version == "crash" {
		log.Fatal("no licence")
	}
	for version == "silent" {
		time.Sleep(time.Hour)
	}
	filler := strings.Repeat("0123456789", 100)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow") {
			time.Sleep(300 * time.Millisecond)
		}
		fmt.Fprintf(w, "%d %s %s %s\n", os.Getpid(), version, r.URL.Path, filler)
	})
	log.Fatal(http.ListenAndServe(net.JoinHostPort("127.0.0.1", os.Getenv("PORT")), nil))
}
