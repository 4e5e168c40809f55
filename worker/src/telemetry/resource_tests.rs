//! Ranks, and an identity that differs from worker to worker.

use super::*;

fn process(slot: usize) -> Process {
    Process { slot, pid: 42, program: "shop".to_owned(), host: "vm1".to_owned(), master: "7-99".to_owned() }
}

fn of(settings: &Settings, variables: &[(&str, &str)], detected: Vec<KeyValue>) -> BTreeMap<String, String> {
    let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let resource = resource(settings, &Env(&get), &process(3), detected);
    resource.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[test]
fn each_rank_is_above_the_one_before() {
    let mut settings = Settings::defaults();
    assert_eq!(of(&settings, &[], Vec::new())["service.name"], "unknown_service:shop");
    let detected = vec![KeyValue::new("k8s.namespace.name", "detected"), KeyValue::new("host.name", "detected")];
    let variables = [
        ("NAMESPACE", "downward"),
        ("POD_IP", "10.0.0.1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=list,k8s.pod.ip=list, a = b%2Cc ,broken,=x,service.version=1"),
    ];
    let all = of(&settings, &variables, detected.clone());
    let get = |key: &str| all[key].as_str();
    assert_eq!(
        (get("service.name"), get("service.version"), get("k8s.pod.ip"), get("a")),
        ("list", "1", "list", "b,c")
    );
    assert_eq!((get("k8s.namespace.name"), get("host.name"), get("process.pid")), ("downward", "detected", "42"));
    assert_eq!(get("telemetry.sdk.language"), "rust");
    settings.service_name = "setting".to_owned();
    settings.service_version = "2".to_owned();
    let all = of(&settings, &variables, detected);
    assert_eq!((all["service.name"].as_str(), all["service.version"].as_str()), ("setting", "2"));
}

#[test]
fn an_instance_is_a_seat() {
    let settings = Settings::defaults();
    let id = |variables: &[(&str, &str)]| of(&settings, variables, Vec::new()).remove("service.instance.id").unwrap();
    assert_eq!(id(&[]), "vm1.7-99.3");
    let pod = [("POD_NAME", "web-1"), ("NAMESPACE", "shop"), ("CONTAINER_NAME", "web")];
    assert_eq!(id(&pod), "shop.web-1.web.3");
    assert_eq!(id(&pod[..2]), "shop.web-1.3");
    assert_eq!(id(&[("POD_UID", "1-2"), pod[2]]), "1-2.web.3");
    assert_eq!(id(&[("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=given")]), "given.3");
}

#[test]
fn in_a_pod_the_machine_is_not_the_host() {
    let all = of(&Settings::defaults(), &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")], Vec::new());
    assert!(!all.contains_key("host.name"));
}

#[test]
fn this_process_is_told_from_another_with_its_masters_number() {
    let process = Process::worker(0);
    let (pid, started) = process.master.split_once('-').unwrap();
    assert_eq!(pid, std::os::unix::process::parent_id().to_string());
    assert!(started.parse::<u64>().is_ok_and(|started| started > 0), "{started:?}");
    assert!(process.program.starts_with("rustcorn_worker"), "{}", process.program);
}
