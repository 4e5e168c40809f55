//! The start of a master: everything that can fail before there is a worker.

use super::*;

impl OsWorld {
    /// Listens to signals, binds, opens the program: all that can fail before the first worker.
    pub(crate) fn start(
        invocation: Invocation,
        resolve: Resolve,
        hooks: Hooks,
        beginning: Beginning,
        daemon: Option<Rc<Detached>>,
    ) -> Result<(Self, Plan, Birth), Refusal> {
        let Beginning { endowment, parent, generation, watchdog } = beginning;
        let cannot = |what: &'static str| move |error: io::Error| format!("cannot {what}: {}", without_number(&error));
        let signals = Signals::listen().map_err(cannot("listen to signals"))?;
        let succession = Succession::new(parent);
        let own = OwnProgram::find(invocation.program().as_ref());
        // A pipe and a pidfd for each worker; the usual limit is reached by 500.
        complain(raise_descriptor_limit().map(drop), || "raise the limit of open files".to_owned());
        let first = generation.unwrap_or(Generation(1));
        let standard_error = match &daemon {
            Some(daemon) => daemon.null().try_clone_to_owned(),
            None => file::standard_error(),
        };
        let standard_error = standard_error.map_err(cannot("keep standard error"))?;
        let birth = Birth {
            generation: first,
            has_parent: succession.has_parent(),
            foreign_sockets: endowment.activated,
            has_terminal: has_terminal(),
            is_init: Pid::this().as_raw() == 1,
        };
        let home = Home::find();
        let has_parent = birth.has_parent;
        let around = Around {
            own: &own,
            home: &home,
            hooks: &hooks,
            standard_error: standard_error.as_fd(),
            sockets: &endowment,
            present: None,
            has_parent,
        };
        // Goes to its directory, and stays.
        let loaded = Resources::load(&invocation, &resolve, &around).and_then(|resources| {
            let pidfile = name_beside_parent(resources.settings.pidfile.as_deref(), has_parent);
            let pidfile = pidfile.as_deref().map(Pidfile::create).transpose()?;
            Ok((resources, pidfile))
        });
        let (resources, pidfile) = loaded.inspect_err(|refusal| succession.fail(&refusal.to_string()))?;
        let inherited = endowment.sockets.iter().chain(&endowment.admin);
        let legacy = if has_parent { inherited.filter_map(|listener| listener.legacy()).collect() } else { Vec::new() };
        let plan = resources.plan();
        let board = Board::create().map_err(cannot("make the shared memory for the workers' counters"))?;
        board.sign_in(Pid::this(), time_of_day());
        let nursery = Nursery::new(daemon.clone()).map_err(cannot("make a pipe"))?;
        // Mistakes that end a start were still said where it was started from. A daemon without a log stays there until it serves.
        if daemon.is_none() || resources.log.has_file() {
            resources.log.use_it();
        }
        log::describe_process(vec![("role".into(), "master".into())]);
        log::say_panics();
        log::set_format(resources.settings.log_format);
        log::set_level(resources.settings.loglevel);
        log::count_with(log_counts::count);
        syslog::set(resources.settings.syslog_plan());
        Notice::Starting { version: env!("CARGO_PKG_VERSION") }.say();
        Notice::Listening { addresses: resources.urls() }.say();
        let (app, workers, threads) = (resources.name.clone(), plan.workers, resources.settings.threads);
        Notice::UsingWorker { app, workers, threads }.say();
        resources.say_admin();
        resources.say_certificate(None);
        resources.say_control();
        if daemon.is_some() && !resources.log.has_file() && !resources.settings.syslog {
            Notice::DaemonWithoutLog.say();
        }
        let mut world = Self {
            invocation,
            resolve,
            hooks,
            is_told_ready: false,
            own,
            home,
            standard_error,
            signals,
            board,
            nursery,
            children: Children::default(),
            oom: Oom::new(Monotonic::now()),
            admin: AdminSeat::default(),
            control: Control::default(),
            started: Monotonic::now(),
            serves_admin: !birth.has_parent,
            succession,
            legacy,
            manager: Manager::from_env(watchdog),
            watchdog,
            activated: birth.foreign_sockets,
            generations: BTreeMap::from([(first, resources)]),
            in_force: first,
            answers: vec![Event::Tick],
            metrics: None,
            watching: None,
            told: Default::default(),
            pidfile,
            title: Title::take_over().map_err(|error| complain(Err(error), || "show a process title".to_owned())).ok(),
            daemon,
        };
        if let (Some(title), Some(resources)) = (&world.title, world.in_force()) {
            title.set(&format!("rustcorn: master [{}]", resources.title()));
        }
        world.start_metrics();
        world.want_admin();
        world.watch_files();
        Ok((world, plan, birth))
    }
}
