// Answers every request with the pid of the process that serves it.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "go %d\n", os.Getpid())
	})
	address := net.JoinHostPort(env("HOST", "0.0.0.0"), env("PORT", "8003"))
	log.Fatal(http.ListenAndServe(address, nil))
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
