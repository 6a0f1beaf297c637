//! Tests of the egress guard: a table of hosts and addresses under several settings.
//! That the judged address is the dialled one is tested beside `client.rs`.

use super::*;

fn check(egress: &Egress, host: &str, address: &str, allowed: bool) {
    let verdict = Guard::new(egress).unwrap().judge(host, address.parse().unwrap());
    assert_eq!(verdict.is_ok(), allowed, "{host} {address}: {verdict:?}");
    if let Err(fault) = verdict {
        assert_eq!(fault.code(), Code::EgressForbidden);
    }
}

#[test]
fn some_addresses_are_never_called() {
    let open = Egress {
        allow_private: true,
        allow: vec!["0.0.0.0/0".into(), "::/0".into(), "metadata".into()],
        ..Egress::default()
    };
    for address in [
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "fe80::1",
        "febf::1",
        "ff02::1",
        "::",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ] {
        check(&open, "metadata", address, false);
    }
}

#[test]
fn private_ones_need_permission() {
    let closed = Egress::default();
    let trusting = Egress::trusting();
    for address in [
        "127.0.0.1",
        "127.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "198.18.0.1",
        "::1",
        "fc00::1",
        "fd12::1",
        "fec0::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
    ] {
        check(&closed, "host", address, false);
        check(&trusting, "host", address, true);
    }
    for address in ["93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:2800:220:1::1", "8.8.8.8"] {
        check(&closed, "host", address, true);
    }
}

#[test]
fn lists_name_hosts_and_networks() {
    let lists = Egress {
        allow_private: false,
        allow: vec!["10.1.0.0/16".into(), "db.local".into(), "*.lab.example".into(), "fd00::/8".into()],
        deny: vec!["10.1.9.0/24".into(), "*.evil.example".into(), "8.8.8.8".into()],
    };
    check(&lists, "x", "10.1.2.3", true);
    check(&lists, "x", "10.2.2.3", false);
    check(&lists, "x", "10.1.9.3", false);
    check(&lists, "db.local", "192.168.0.9", true);
    check(&lists, "a.lab.example", "192.168.0.9", true);
    check(&lists, "alab.example", "192.168.0.9", false);
    check(&lists, "lab.example", "192.168.0.9", false);
    check(&lists, "www.evil.example", "93.184.216.34", false);
    check(&lists, "dns", "8.8.8.8", false);
    check(&lists, "x", "fd01::1", true);
}

#[test]
fn networks_are_read_strictly() {
    for bad in ["10.0.0.0/33", "::/129", "10.0.0/8", "x/8", "10.0.0.0/", ""] {
        assert!(bad.parse::<Cidr>().is_err(), "{bad}");
    }
    let all: Cidr = "0.0.0.0/0".parse().unwrap();
    assert!(all.contains("1.2.3.4".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
    let fault = Guard::new(&Egress { deny: vec!["a b".into()], ..Egress::default() }).unwrap_err();
    assert_eq!(fault.code(), Code::BadConfiguration);
}
