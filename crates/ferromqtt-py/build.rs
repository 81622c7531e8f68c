//! Compiles the one line of C that names an option of the allocator, and says for which interpreter the module is built.

fn main() {
    pyo3_build_config::use_pyo3_cfgs(); // `Py_GIL_DISABLED`
    println!("cargo::rerun-if-changed=src/allocator.c");
    // Set by libmimalloc-sys for those who depend on it (`links`): where the header of the very version is that is linked.
    let include = std::env::var("DEP_MIMALLOC_INCLUDE_DIR")
        .expect("libmimalloc-sys says where its header is");
    cc::Build::new()
        .include(include)
        .file("src/allocator.c")
        .compile("ferromqtt_allocator");
}
