//! The hello servers, and how each is run.

use std::fs;
use std::path::PathBuf;

use crate::build;
use crate::run::Run;
use crate::tine::Tine;
use crate::who::Who;

/// A hello server that this user can run here.
///
/// The constructors fail with what is missing. In arguments and files `{port}` stands for the port.
#[derive(Clone, Debug)]
pub struct Program {
    args: Vec<String>,
    files: Vec<(&'static str, String)>,
    copies: Vec<PathBuf>,
    who: Who,
    node_worker: bool,
}

/// A program, or what is missing here.
type Found = Result<Program, String>;

impl Program {
    /// `hello.js`, a worker that speaks to tine over its channel.
    pub fn node(who: Who) -> Found {
        Ok(Self { node_worker: true, ..Self::new(who, &["node"], &["hello.js"])? })
    }

    /// `hello.js` below a shell that stays.
    pub fn shell(who: Who) -> Found {
        Self::new(who, &["node"], &["--", "sh", "-c", "node hello.js; exit $?"])
    }

    /// `hello.js` below `npm start`.
    pub fn npm(who: Who) -> Found {
        let package = r#"{ "name": "hello", "scripts": { "start": "node hello.js" } }"#;
        let npm = Self::new(who, &["node", "npm"], &["--", "npm", "start"])?;
        Ok(Self { files: vec![("package.json", package.to_owned())], ..npm })
    }

    /// `hello.py`: http.server.
    pub fn python(who: Who) -> Found {
        Self::new(who, &["python3"], &["hello.py"])
    }

    /// `hello_asgi.py` in one process of uvicorn.
    pub fn uvicorn(who: Who) -> Found {
        Self::installed(who, "uvicorn", &["hello_asgi:app", "--port", "{port}"])
    }

    /// `hello_asgi.py` in two workers of uvicorn.
    pub fn uvicorn_workers(who: Who) -> Found {
        let args = ["hello_asgi:app", "--port", "{port}", "--workers", "2"];
        Self::installed(who, "uvicorn", &args)
    }

    /// `hello_wsgi.py` in two workers of gunicorn.
    pub fn gunicorn(who: Who) -> Found {
        let args = ["-w", "2", "-b", "127.0.0.1:{port}", "hello_wsgi:app"];
        Self::installed(who, "gunicorn", &args)
    }

    /// `hello.go`, linked statically.
    pub fn go(who: Who) -> Found {
        let go = Self::new(Who::Root, &["go"], &["./hello-go"])?;
        Ok(Self { copies: vec![build::go()], who, ..go })
    }

    /// `hello.rb`.
    pub fn ruby(who: Who) -> Found {
        Self::new(who, &["ruby"], &["hello.rb"])
    }

    /// `Hello.java`, compiled beforehand.
    pub fn java(who: Who) -> Found {
        let quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
        let args = ["--", "java", quick[0], quick[1], "-cp", ".", "Hello"];
        let java = Self::new(who, &["java", "javac"], &args)?;
        Ok(Self { copies: vec![build::java()], ..java })
    }

    /// `hello.php` in PHP's own server.
    pub fn php(who: Who) -> Found {
        Self::new(who, &["php"], &["--", "php", "-S", "127.0.0.1:{port}", "hello.php"])
    }

    /// nginx with two worker processes.
    pub fn nginx(who: Who) -> Found {
        let args = ["--", "nginx", "-e", "stderr", "-p", "./", "-c", "nginx.conf"];
        let nginx = Self::new(who, &["nginx"], &args)?;
        let template = fs::read_to_string(build::servers().join("nginx.conf.template"));
        let conf = template.expect("it is in the repository");
        let conf = conf.replace("${HOST}", "127.0.0.1").replace("${PORT}", "{port}");
        Ok(Self { files: vec![("nginx.conf", conf)], ..nginx })
    }

    /// `hello-std`.
    pub fn rust_std(who: Who) -> Found {
        let hello = Self::new(who, &[], &["./hello-std"])?;
        Ok(Self { copies: vec![build::cargo_built("hello-std")], ..hello })
    }

    /// `hello-axum`.
    pub fn axum(who: Who) -> Found {
        let hello = Self::new(who, &[], &["./hello-axum"])?;
        Ok(Self { copies: vec![build::cargo_built("hello-axum")], ..hello })
    }

    /// Whether its workers speak Node's protocol with tine.
    #[must_use]
    pub fn is_node_worker(&self) -> bool {
        self.node_worker
    }

    /// A `tine run` with these options of the server on 127.0.0.1, at `port`.
    pub fn run(&self, port: u16, options: &[&str]) -> Run {
        let fill = |text: &str| text.replace("{port}", &port.to_string());
        let environment = [format!("PORT={port}"), "HOST=127.0.0.1".to_owned()];
        let environment = environment.into_iter().flat_map(|pair| ["--env".to_owned(), pair]);
        let options = options.iter().map(|option| (*option).to_owned());
        let args = options.chain(environment).chain(self.args.iter().map(|arg| fill(arg)));
        let run = Tine::run(args).as_who(self.who);
        let run = self.files.iter().fold(run, |run, (name, text)| run.file(*name, fill(text)));
        self.copies.iter().fold(run, Run::copy)
    }

    /// A server that needs these programs.
    fn new(who: Who, needs: &[&str], args: &[&str]) -> Found {
        if let Some(missing) = needs.iter().find(|program| who.find(program).is_none()) {
            return Err(format!("no {missing} here"));
        }
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (files, copies) = (Vec::new(), Vec::new());
        Ok(Self { args, files, copies, who, node_worker: false })
    }

    /// A Python program, from the virtual environment if it is there.
    ///
    /// Its script is run in place where this user can reach it; else its modules are copied.
    fn installed(who: Who, name: &str, args: &[&str]) -> Found {
        let script = build::venv().join("bin").join(name);
        if who.drops_rights() && script.is_file() {
            return Self::copied(who, name, args);
        }
        let script = if script.is_file() { Some(script) } else { who.find(name) };
        let script = script.ok_or_else(|| format!("no {name} here"))?.display().to_string();
        Self::new(who, &["python3"], &[&["--", &script], args].concat())
    }

    fn copied(who: Who, name: &str, args: &[&str]) -> Found {
        let module = ["--env", "PYTHONPATH=.", "--", "python3", "-m", name];
        let program = Self::new(who, &["python3"], &[&module, args].concat())?;
        Ok(Self { copies: build::venv_modules(), ..program })
    }
}
